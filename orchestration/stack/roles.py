"""Three roles, each with a Postgres role and an S3 identity of its own: who may write which tables of the lake.

DuckLake keeps all tables' rows, files and columns in the same few tables of Postgres, so a grant cannot tell
`features` from `ml`: policies on their rows do. Where a policy refuses, the server says so and the commit fails; a
`where` that silently matched nothing would not. Who owns the lake's database is bound by none of them: it makes the
tables of `ops` and `ml`, migrates, maintains, backs up and restores.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.lake.sql import quoted, text

READER, PRODUCER, CONSUMER = "reader", "producer", "consumer"
# What is nobody's own: each table of `ops` has one who writes it, and those of `ml` are the consumer's.
OPS, ML = "ops", "ml"
WRITES_IN_OPS = {
    PRODUCER: ("publications",),
    CONSUMER: ("consumptions", "completions", "followed", "notices", "deliveries"),
}
# Folders beside the lake's own.
BESIDE = {PRODUCER: ("exports", "state"), CONSUMER: ("artifacts", "cards", "exports", "state")}
TABLES = ("model", "seed", "snapshot")  # what dbt makes tables and views of


@dataclass(frozen=True)
class Role:
    """Who, and what it may write; all may read all of the lake.

    Attributes:
        schemas: Of the lake: every table of them.
        ops: Tables of the schema `ops`.
        beside: Folders beside the lake's.
    """

    kind: str
    schemas: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in Postgres and S3."""
        return f"tract_{self.kind}"

    @property
    def folders(self) -> list[str]:
        """What it may write below the lake's root in S3."""
        return [
            *(f"lake/{schema}" for schema in self.schemas),
            *(f"lake/{OPS}/{table}" for table in self.ops),
            *self.beside,
        ]


def roles(manifest: Mapping[str, Any]) -> list[Role]:
    """The three, of dbt's manifest. The producer writes every schema; the consumer those of models that read what `ml`
    writes, but none that holds a learned-from table, or what one is built from.
    """
    nodes = {id_: node for id_, node in manifest["nodes"].items() if node["resource_type"] in TABLES}
    parents = {id_: set(node["depends_on"]["nodes"]) for id_, node in nodes.items()}
    reading = {id_ for id_, source in manifest["sources"].items() if source["schema"] == ML}
    while more := {id_ for id_ in nodes if id_ not in reading and not parents[id_].isdisjoint(reading)}:
        reading |= more
    asked = [one for one in manifest["exposures"].values() if one["type"] == "ml"]
    learned_from = {id_ for one in asked for id_ in one["depends_on"]["nodes"] if id_ in nodes}
    while more := {id_ for child in learned_from for id_ in parents[child] if id_ in nodes} - learned_from:
        learned_from |= more
    every = {node["schema"] for node in nodes.values()} - {OPS, ML}
    shared = {nodes[id_]["schema"] for id_ in reading & set(nodes)} - {nodes[id_]["schema"] for id_ in learned_from}
    return [
        Role(READER),
        Role(PRODUCER, tuple(sorted(every)), WRITES_IN_OPS[PRODUCER], BESIDE[PRODUCER]),
        Role(CONSUMER, (ML, *sorted(shared - {OPS, ML})), WRITES_IN_OPS[CONSUMER], BESIDE[CONSUMER]),
    ]


def catalog_sql(roles: Sequence[Role], passwords: Mapping[str, str] | None = None) -> str:
    """The script for the lake's database, to be run by its owner, or by who may make roles; again after any change.

    Args:
        passwords: By kind; without them roles are made that cannot log in until somebody gives them one.
    """
    parts = [_role_sql(role, (passwords or {}).get(role.kind)) for role in roles]
    return "\n".join(
        [*parts, _OPEN, *(_writer_sql(role) for role in roles if role.kind != READER), _policies_sql(roles)]
    )


def _role_sql(role: Role, password: str | None) -> str:
    name = quoted(role.name)
    login = f"alter role {name} login password {text(password)};\n" if password else ""
    return f"""
do $$ begin
    if not exists (select from pg_roles where rolname = {text(role.name)}) then create role {name} login; end if;
end $$;
{login}do $$ begin execute format('grant connect on database %I to {role.name}', current_database()); end $$;
grant usage on schema public to {name};
grant select on all tables in schema public to {name};"""


_OPEN = """
do $$ begin execute format('revoke all on database %I from public', current_database()); end $$;
revoke all on schema public from public;"""


def _writer_sql(role: Role) -> str:
    """What a role may name a table, and which ids are its own: every version of a table must be, not one of them."""
    named = ", ".join(text(schema) for schema in role.schemas)
    ops = ", ".join(text(table) for table in role.ops)
    return f"""
create or replace function public.{role.name}_names(in_schema text, named text) returns boolean
language sql immutable as $$
    select coalesce(in_schema in ({named}) or (in_schema = {text(OPS)} and named in ({ops})), false)
$$;
create or replace function public.{role.name}_puts(of_schema bigint, named text) returns boolean
language sql stable set search_path = public as $$
    select coalesce(bool_and({role.name}_names(schema_name, named)), false)
    from ducklake_schema where schema_id = of_schema
$$;
create or replace function public.{role.name}_writes(id bigint) returns boolean
language sql stable set search_path = public as $$
    select coalesce(bool_and({role.name}_puts(schema_id, named)), false) from (
        select schema_id, table_name from ducklake_table where table_id = id
        union all
        select schema_id, view_name from ducklake_view where view_id = id
    ) as versions (schema_id, named)
$$;"""


def _policies_sql(roles: Sequence[Role]) -> str:
    """Policies for each of DuckLake's tables, whichever this release of it has, by the columns that it has."""
    writers = [role.name for role in roles if role.kind != READER]
    everyone = ", ".join(quoted(role.name) for role in roles)
    return f"""
do $$
declare
    of record; writer text; fits text;
begin
    for of in
        select name, array(
            select column_name::text from information_schema.columns
            where table_schema = 'public' and table_name = name
        ) as has
        from (select tablename::text from pg_tables where schemaname = 'public') as tables (name)
        where starts_with(name, 'ducklake_')
    loop
        execute format('alter table public.%I enable row level security', of.name);
        execute format('drop policy if exists tract_reads on public.%I', of.name);
        execute format('create policy tract_reads on public.%I for select to {everyone} using (true)', of.name);
        foreach writer in array array[{", ".join(text(name) for name in writers)}] loop
            fits := case
                when of.name in ('ducklake_snapshot', 'ducklake_snapshot_changes') then 'true'
                when of.name = 'ducklake_schema' then
                    writer || '_names(schema_name, '''') and not exists ('
                    || 'select from ducklake_schema as was where was.schema_id = ducklake_schema.schema_id and not '
                    || writer || '_names(was.schema_name, ''''))'
                when of.name = 'ducklake_table' then
                    writer || '_puts(schema_id, table_name) and not exists ('
                    || 'select from ducklake_table as was where was.table_id = ducklake_table.table_id and not '
                    || writer || '_puts(was.schema_id, was.table_name))'
                when of.name = 'ducklake_view' then
                    writer || '_puts(schema_id, view_name) and not exists ('
                    || 'select from ducklake_view as was where was.view_id = ducklake_view.view_id and not '
                    || writer || '_puts(was.schema_id, was.view_name))'
                when 'table_id' = any(of.has) then writer || '_writes(table_id)'
                when 'object_id' = any(of.has) then writer || '_writes(object_id)'
            end;
            execute format('revoke insert, update, delete, truncate on public.%I from %I', of.name, writer);
            execute format('drop policy if exists %I on public.%I', writer || '_adds', of.name);
            execute format('drop policy if exists %I on public.%I', writer || '_ends', of.name);
            continue when fits is null;
            execute format('grant insert on public.%I to %I', of.name, writer);
            execute format('create policy %I on public.%I for insert to %I with check (%s)',
                writer || '_adds', of.name, writer, fits);
            continue when fits = 'true';
            execute format('grant update on public.%I to %I', of.name, writer);
            -- `using (true)`: a row that is not its own is refused, not passed over
            execute format('create policy %I on public.%I for update to %I using (true) with check (%s)',
                writer || '_ends', of.name, writer, fits);
        end loop;
    end loop;
end $$;"""


def dagster_sql() -> str:
    """The script for Dagster's database: it is the consumer's, and nobody else's."""
    name = quoted(Role(CONSUMER).name)
    return f"""
do $$ begin
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to {Role(CONSUMER).name}', current_database());
end $$;
grant usage, create on schema public to {name};
grant all on all tables in schema public to {name};
grant all on all sequences in schema public to {name};"""


def s3_policy(role: Role, root: str) -> str:
    """A role's rights below an S3 address such as `s3://tract`, as AWS writes policies; many other stores read them."""
    bucket, _, prefix = root.removeprefix("s3://").rstrip("/").partition("/")
    below = f"{prefix}/" if prefix else ""
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{bucket}"],
            "Condition": {"StringLike": {"s3:prefix": [f"{below}*"]}},
        },
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/{below}*"]},
    ]
    if role.folders:
        actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        folders = [f"arn:aws:s3:::{bucket}/{below}{folder}/*" for folder in role.folders]
        statements.append({"Effect": "Allow", "Action": actions, "Resource": folders})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def seaweed_commands(role: Role, key_id: str, secret: str, root: str) -> list[str]:
    """The same rights as commands of `weed shell`, for the local S3."""
    place = root.removeprefix("s3://").rstrip("/")
    # of the bucket: a listing names its prefix in a parameter, which these rights do not see
    bucket = place.partition("/")[0]
    user = f"s3.configure -user={role.name}"
    folders = ",".join(f"{place}/{folder}/*" for folder in role.folders)
    return [
        f"{user} -delete -apply",  # rights that it has no more
        f"{user} -access_key={key_id} -secret_key={secret} -buckets={bucket} -actions=Read,List -apply",
        *([f"{user} -buckets={folders} -actions=Write -apply"] if folders else []),
    ]
