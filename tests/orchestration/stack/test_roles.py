"""Producer, consumer and reader on real servers, which refuse each what is not its own, however it is tried."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pandas as pd
import psycopg2
import pytest
from pyarrow import fs

from ml import consumption, lake, promotion, serving
from ml.lake import artifacts, locks
from ml.maintenance import maintain
from orchestration.commands.roles import on_local_servers
from orchestration.stack import roles
from orchestration.stack.roles import CONSUMER, PRODUCER, READER
from tests.ml.conftest import POINTS, publish_points
from tests.ml.rows import silent

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("roles")]

OWNER = "owner"
REFUSED = re.compile(r"row-level security|permission denied|must be owner|Forbidden|Access[ _]?Denied", re.IGNORECASE)
Homes = dict[str, Path]


def node(schema: str, *parents: str) -> dict[str, Any]:
    return {"resource_type": "model", "schema": schema, "depends_on": {"nodes": parents}}


MANIFEST = {
    "sources": {"ml": {"schema": "ml"}, "raw": {"schema": "raw"}},
    "nodes": {
        "landed": node("landing", "raw"),
        "points": node("features", "landed"),
        "mart": node("marts", "points", "ml"),
        "report": node("reports", "mart"),
        "report of what was landed": node("reports", "landed"),
        "mixed": node("features", "mart"),
        "a test": {"resource_type": "test", "schema": "tests", "depends_on": {"nodes": ["mart"]}},
    },
    "exposures": {
        "points": {"type": "ml", "depends_on": {"nodes": ["points"]}},
        "a dashboard": {"type": "dashboard", "depends_on": {"nodes": ["report"]}},
    },
}


def test_what_reads_predictions_is_both_teams_and_the_rest_the_producers() -> None:
    reader, producer, consumer = roles.roles(MANIFEST)
    assert (reader.schemas, reader.ops, reader.folders) == ((), (), [])
    assert producer.schemas == ("features", "landing", "marts", "reports")
    assert producer.ops == ("publications",)
    assert consumer.schemas == ("ml", "marts", "reports")
    assert consumer.ops == ("consumptions", "completions", "followed", "notices", "deliveries")
    said = json.loads(roles.s3_policy(consumer, "s3://bucket/team/tract"))["Statement"]
    assert said[0]["Condition"] == {"StringLike": {"s3:prefix": ["team/tract/*"]}}
    assert said[2]["Resource"] == [
        f"arn:aws:s3:::bucket/team/tract/{folder}/*"
        for folder in (
            *("lake/ml", "lake/marts", "lake/reports"),
            *(f"lake/ops/{table}" for table in consumer.ops),
            *("artifacts", "cards", "exports", "state"),
        )
    ]
    assert len(json.loads(roles.s3_policy(reader, "s3://bucket"))["Statement"]) == 2


@contextmanager
def acting(home: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        yield


@contextmanager
def lake_as(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with acting(home), lake.connect() as con:
        yield con


@pytest.fixture(scope="module")
def homes(servers: Path) -> Homes:
    """A home each, on the shared servers and their own lake, which no other test enters; made twice, as people do."""
    with acting(servers):
        on_local_servers(servers, roles.roles(MANIFEST), [POINTS])
        return {**on_local_servers(servers, roles.roles(MANIFEST), [POINTS]), OWNER: servers}


@pytest.fixture(scope="module")
def worked(homes: Homes) -> str:
    """Each has done what is its own: the version that the consumer made of what the producer published."""
    with lake_as(homes[PRODUCER]) as con:
        con.execute("create schema if not exists lake.features")
        publish_points(con, POINTS)
        publish_points(con, POINTS, 0.2)  # in the place of the first
    with acting(homes[CONSUMER]):
        consumed = consumption.consume(POINTS, say=silent)
    assert consumed is not None
    assert (consumed.outcome, consumed.predicted_rows) == ("trained", 400)
    for kind in (PRODUCER, CONSUMER):
        with lake_as(homes[kind]) as con:
            con.execute("create schema if not exists lake.marts")
            con.execute("create or replace view lake.marts.valued as from lake.ml.predictions")
    with lake_as(homes[READER]) as con:
        assert con.execute("select count(*) from lake.marts.valued").fetchall() == [(400,)]
        assert con.execute("select count(*) from lake.features.points").fetchall() == [(400,)]
    assert consumed.version_id is not None
    return consumed.version_id


def refused(call: Callable[[], object]) -> None:
    with pytest.raises((duckdb.Error, psycopg2.Error, OSError)) as error:
        call()
    assert REFUSED.search(str(error.value)), str(error.value)


STATEMENTS = {
    PRODUCER: [
        "insert into lake.ml.promotions values ('points', 9, 'x', 'me', 'mine', now())",
        "delete from lake.ml.promotions",
        "update lake.ml.model_versions set signature = null",
        "delete from lake.ops.consumptions",
        "drop table lake.ml.promotions",
        "alter table lake.ml.promotions rename to others",
        "create table lake.ml.mine as select 1 as a",
        "create view lake.ml.mine as select 1 as a",
        "drop view lake.ml.champions",
        "create or replace view lake.ml.champions as select 1 as a",
        "comment on table lake.ml.promotions is 'mine'",
        "drop schema lake.ml cascade",
    ],
    CONSUMER: [
        "create table lake.features.mine as select 1 as a",
        "insert into lake.features.points from lake.features.points",
        "delete from lake.features.points where id is not null",
        "drop table lake.features.points",
        "alter table lake.features.points add column c integer",
        "insert into lake.ops.publications from lake.ops.publications",
        "create schema lake.mine",
    ],
    READER: [
        "create table lake.features.mine as select 1 as a",
        "create view lake.marts.mine as select 1 as a",
        "insert into lake.ml.promotions values ('points', 9, 'x', 'me', 'mine', now())",
        "delete from lake.features.points where id is not null",
        "create schema lake.mine",
    ],
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_on_what_is_anothers_is_refused_and_changes_nothing(homes: Homes, worked: str, kind: str) -> None:
    with lake_as(homes[OWNER]) as con:
        before = con.execute("select id from lake.current_snapshot()").fetchall()
    for statement in STATEMENTS[kind]:
        with lake_as(homes[kind]) as con:
            refused(lambda con=con, statement=statement: con.execute(statement))  # type: ignore[misc]
    with lake_as(homes[OWNER]) as con:
        assert con.execute("select id from lake.current_snapshot()").fetchall() == before


def test_a_producer_cannot_promote(homes: Homes, worked: str) -> None:
    with lake_as(homes[OWNER]) as con:
        con.execute("delete from lake.ml.promotions")
    with acting(homes[PRODUCER]), pytest.raises(artifacts.ArtifactError, match="was not signed with the key in"):
        promotion.promote(POINTS, worked, by="a producer", reason="mine is better", say=silent)
    with acting(homes[CONSUMER]):
        assert promotion.promote(POINTS, worked, by="a consumer", reason="it is back", say=silent).version_id == worked


def test_a_model_is_loaded_where_the_consumers_key_is_and_nowhere_else(homes: Homes, worked: str) -> None:
    rows = pd.DataFrame({"a": [1.0], "b": [2.0]})
    with lake_as(homes[CONSUMER]) as con:
        assert serving.predict(con, "points", rows)["prediction"].item() == pytest.approx(999, rel=0.2)
    for kind in (READER, PRODUCER):
        with lake_as(homes[kind]) as con, pytest.raises(artifacts.ArtifactError, match="was not signed with the key"):
            serving.predict(con, "points", rows)


def ask(home: Path, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
    """Run it past DuckLake, in one transaction."""
    with acting(home):
        said: dict[str, Any] = locks.secret()
    with closing(psycopg2.connect(**{**said, **({"dbname": database} if database else {})})) as con:
        with con.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
        con.commit()
        return rows


def ids(home: Path) -> dict[str, int]:
    found = ask(home, "select table_name, table_id from ducklake_table where end_snapshot is null")
    schemas = ask(home, "select 'schema ' || schema_name, schema_id from ducklake_schema where end_snapshot is null")
    return dict([*found, *schemas])


def test_the_catalogs_own_tables_are_no_way_around(homes: Homes, worked: str) -> None:
    of = ids(homes[OWNER])
    features, ml, promotions = of["schema features"], of["schema ml"], of["promotions"]
    row = "gen_random_uuid(), 1, null"
    file = f"values (9999, {promotions}, 1, null, null, 'a', true, 'parquet', 1, 1, 1, 0, null, null, null, null)"
    for statement in (
        f"update ducklake_table set schema_id = {features} where table_id = {promotions}",
        f"update ducklake_table set end_snapshot = 1 where table_id = {promotions}",
        f"insert into ducklake_table values ({promotions}, {row}, {features}, 'promotions', 'a', true)",
        f"insert into ducklake_table values (9999, {row}, {ml}, 'promotions', 'a', true)",
        f"insert into ducklake_schema values ({ml}, {row}, 'features', 'a', true)",
        f"insert into ducklake_schema values (9999, {row}, 'ml', 'a', true)",
        f"update ducklake_schema set schema_name = 'features' where schema_id = {ml}",
        f"insert into ducklake_view values (9999, {row}, {ml}, 'champions', 'duckdb', 'select 1', '')",
        f"insert into ducklake_data_file {file}",
        f"update ducklake_data_file set path = 'mine' where table_id = {promotions}",
        f"update ducklake_column set column_name = 'mine' where table_id = {promotions}",
        "delete from ducklake_data_file",
        "truncate ducklake_snapshot",
        "update ducklake_snapshot set snapshot_id = 0",
        "update ducklake_metadata set value = 's3://mine/'",
        "create table mine (a int)",
        "create or replace function tract_producer_names(a text, b text) returns boolean language sql as 'select true'",
        "drop policy tract_producer_adds on ducklake_table",
        "alter table ducklake_table disable row level security",
        "set role tract",
        "alter role tract_producer superuser",
        "select rolpassword from pg_authid",
        "select pg_read_file('postgresql.conf')",
        "copy ducklake_snapshot to program 'cat'",
    ):
        refused(lambda statement=statement: ask(homes[PRODUCER], statement))  # type: ignore[misc]
    refused(lambda: ask(homes[CONSUMER], f"update ducklake_data_file set path = 'a' where table_id = {of['points']}"))
    refused(lambda: ask(homes[READER], "insert into ducklake_snapshot values (9999, now(), 1, 1, 1)"))
    for kind in (READER, PRODUCER):
        for database in ("dagster", "postgres"):
            if database == "dagster":
                refused(lambda kind=kind: ask(homes[kind], "select 1", "dagster"))  # type: ignore[misc]
    assert ask(homes[CONSUMER], "select 1", "dagster") == [(1,)]


def test_s3_takes_from_each_what_is_its_own_and_nothing_else(homes: Homes, worked: str) -> None:
    allowed = {
        PRODUCER: ["lake/features/points", "lake/ops/publications", "exports", "lake/marts/valued"],
        CONSUMER: [
            "lake/ml/predictions",
            "lake/ops/consumptions",
            "artifacts",
            "cards",
            "exports",
            "lake/marts/valued",
        ],
        READER: [],
    }
    everywhere = {*chain(*allowed.values()), "lake/ops/migrations", ".stack", "elsewhere"}
    for kind, folders in allowed.items():
        with acting(homes[kind]):
            store = lake.store()
        for folder in sorted(everywhere):
            if folder in folders:
                with store.open_output_stream(f"{folder}/mine") as stream:
                    stream.write(b"mine")
                store.delete_file(f"{folder}/mine")
            else:
                refused(lambda store=store, folder=folder: write(store, f"{folder}/mine"))  # type: ignore[misc]
    with acting(homes[OWNER]):
        lake_files = lake.store().get_file_info(fs.FileSelector("lake/features", recursive=True))
    named = next(info.path for info in lake_files if info.type == fs.FileType.File)
    with acting(homes[READER]):
        refused(lambda: lake.store().delete_file(named))
        assert lake.store().open_input_stream(named).read(4) == b"PAR1"


def write(store: fs.FileSystem, path: str) -> None:
    with store.open_output_stream(path) as stream:
        stream.write(b"mine")


def test_the_homes_are_for_their_owner_alone_and_know_their_own_secrets(homes: Homes) -> None:
    for kind in (READER, PRODUCER, CONSUMER):
        files = list((homes[kind] / "secrets").glob("*.duckdb_secret"))
        assert len(files) == 3
        assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
        with acting(homes[kind]):
            mine = locks.secret()
        assert mine["user"] == f"tract_{kind}"
        others = [homes[other] for other in homes if other != kind]
        for home in others:
            with acting(home):
                assert locks.secret()["password"] != mine["password"]
                assert locks.secret()["password"] not in " ".join(file.read_text("latin1") for file in files)


def test_who_waits_for_another_roles_lock_is_told_for_whom(homes: Homes) -> None:
    told: list[str] = []

    def wait() -> None:
        with locks.lock("a role's", say=told.append):
            pass

    with acting(homes[CONSUMER]), locks.lock("a role's"), acting(homes[PRODUCER]):
        waiting = Thread(target=wait)
        waiting.start()
        while not told:
            waiting.join(0.05)
        assert locks.holder("a role's") == (locks.this_process(), None)
    waiting.join()
    assert told == [f"Waiting for the lock 'a role's': {locks.this_process()} has it."]


def test_the_owner_keeps_all_rights(homes: Homes, worked: str) -> None:
    with acting(homes[OWNER]):
        assert maintain(say=silent).removed_artifacts == 0
        with lake.connect() as con:
            con.execute("create or replace table lake.features.owned as select 1 as a")
            con.execute("drop table lake.features.owned")
