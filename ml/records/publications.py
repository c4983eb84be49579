"""Publications: ops.publications, a row per tested build of a learned-from table, and the SQL that adds it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import duckdb

from ml.code import git_commit
from ml.exposures import Exposure
from ml.identity import code_version
from ml.lake import catalog, sql
from ml.lake.engine import Engine, Here, Row, added
from ml.lake.locks import this_process
from ml.lake.sql import quoted, text


@dataclass(frozen=True)
class Publication:
    """One row of ops.publications: a tested build of a learned-from table."""

    publication_id: str
    relation: str
    snapshot_id: int
    fingerprint: str
    duckdb_version: str
    row_count: int
    invocation_id: str
    built_by: str
    git_commit: str | None
    published_at: datetime

    @property
    def table(self) -> str:
        """The published rows as a table expression, however the table has changed since."""
        return table_at(self.relation, self.snapshot_id)

    def input_hash(self, exposure: Exposure) -> str:
        """What makes judging it again pointless: the same rows, the same spec, the same code."""
        said = "\n".join([self.fingerprint, self.duckdb_version, exposure.digest(), code_version(exposure.estimators)])
        return hashlib.sha256(said.encode()).hexdigest()

    def without_nulls(self, con: duckdb.DuckDBPyConnection) -> set[str]:
        """The columns that have no NULL by the lake's own statistics, which are read without the rows.

        A column that was added later has none for the files before, and is not among them, whatever it holds.
        """
        rows = con.execute(
            f"""
            with table_ as ({catalog.TABLE_SQL}),
            files as (
                select files.data_file_id, files.record_count
                from __ducklake_metadata_lake.ducklake_data_file as files
                where files.table_id in (from table_) and {catalog.holds_sql("files")}
            ),
            nulls as (
                select
                    columns_.column_name, sum(statistics.null_count) as null_count,
                    count(statistics.null_count) as files
                from __ducklake_metadata_lake.ducklake_column as columns_
                inner join __ducklake_metadata_lake.ducklake_file_column_stats as statistics
                    on
                        columns_.table_id = statistics.table_id and columns_.column_id = statistics.column_id
                        and statistics.data_file_id in (select data_file_id from files)
                where columns_.table_id in (from table_) and {catalog.holds_sql("columns_")}
                group by columns_.column_name
            )
            select column_name from nulls
            where
                null_count = 0 and files = (select count(*) from files)
                and (select sum(record_count) from files) >= $rows
            """,
            {"relation": self.relation, "snapshot": self.snapshot_id, "rows": self.row_count},
        ).fetchall()
        return {row[0] for row in rows}

    def nulls(
        self, con: duckdb.DuckDBPyConnection, columns: Iterable[str], engine: Engine | None = None
    ) -> dict[str, int]:
        """How many values of each column are NULL.

        Of 10 million rows of 11 columns the scan takes 0.5 s, and the lake's statistics know where there is none.

        Args:
            engine: What scans, where that is not the connection's DuckDB.
        """
        none, found = self.without_nulls(con), dict.fromkeys(columns, 0)
        if unknown := [name for name in found if name not in none]:
            counts = ", ".join(f"count(*) - count({quoted(name)})" for name in unknown)
            (row,) = added((engine or Here(con)).rows(f"select {counts} from {self.table}"))
            found.update(zip(unknown, row, strict=True))
        return found


def table_at(relation: str, snapshot_id: int) -> str:
    """A table of the lake as it was in a snapshot, as a table expression."""
    return f"{sql.table(relation)} at (version => {snapshot_id})"


COLUMNS = ", ".join(Publication.__dataclass_fields__)


def ledger(con: duckdb.DuckDBPyConnection) -> str:
    """What tells this lake's publications from those of any other, a lake made anew among them: digits of a uuid.

    Snapshots are numbered from the start in each lake, and publications are named by them.
    """
    row = con.execute(
        """
        select tables.table_uuid::varchar
        from __ducklake_metadata_lake.ducklake_table as tables
        inner join __ducklake_metadata_lake.ducklake_schema as schemas on tables.schema_id = schemas.schema_id
        where
            tables.end_snapshot is null and schemas.end_snapshot is null
            and schemas.schema_name = 'ops' and tables.table_name = 'publications'
        """
    ).fetchone()
    if row is None:
        raise duckdb.CatalogException("ops.publications is not there")
    return str(row[0])[-12:]  # those before say when it was made


def pending(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> list[Publication]:
    """The publications of the exposure's table that it has not consumed, oldest first."""
    rows = con.execute(
        f"""
        select {COLUMNS}
        from lake.ops.publications as publications
        where relation = ? and not exists (
            from lake.ops.consumptions as consumptions
            where consumptions.publication_id = publications.publication_id and consumptions.exposure = ?
        )
        order by snapshot_id
        """,
        [exposure.relation, exposure.name],
    ).fetchall()
    return [Publication(*row) for row in rows]


def publication(con: duckdb.DuckDBPyConnection, publication_id: str) -> Publication | None:
    """The publication of this id, or None."""
    row = con.execute(
        f"select {COLUMNS} from lake.ops.publications where publication_id = ?", [publication_id]
    ).fetchone()
    return Publication(*row) if row else None


def newest(con: duckdb.DuckDBPyConnection, relation: str) -> Publication | None:
    """The newest publication of a table, or None."""
    query = f"select {COLUMNS} from lake.ops.publications where relation = ? order by snapshot_id desc limit 1"
    row = con.execute(query, [relation]).fetchone()
    return Publication(*row) if row else None


def built_by(con: duckdb.DuckDBPyConnection, builder: str) -> list[Publication]:
    """What somebody's builds published, by relation."""
    rows = con.execute(
        f"select {COLUMNS} from lake.ops.publications where built_by = ? order by relation, snapshot_id", [builder]
    ).fetchall()
    return [Publication(*row) for row in rows]


def last_published(con: duckdb.DuckDBPyConnection, relation: str) -> datetime | None:
    """When a table's newest publication was made; None before its first."""
    row = con.execute("select max(published_at) from lake.ops.publications where relation = ?", [relation]).fetchone()
    return row[0] if row else None


def last_id(con: duckdb.DuckDBPyConnection, relation: str) -> str | None:
    """The id of a table's newest publication; None before its first."""
    row = con.execute(
        "select max_by(publication_id, published_at) from lake.ops.publications where relation = ?", [relation]
    ).fetchone()
    return row[0] if row else None


def snapshot_sql(invocation_id: str, relation: str) -> str:
    """The query for the snapshot in which this invocation committed the table (the post-hook's tag)."""
    return f"""
        select max(snapshot_id) from ducklake_snapshots('lake')
        where author = 'dbt' and commit_message = {text(invocation_id)} and commit_extra_info = {text(relation)}
    """


def state_sql(invocation_id: str, relation: str) -> str:
    """The query for (signed, changed, newest), as `publishing.State` has them."""
    schema, name = relation.split(".", 1)
    return f"""
        with tables_ as (
            select tables.table_id, tables.begin_snapshot
            from __ducklake_metadata_lake.ducklake_table as tables
            inner join __ducklake_metadata_lake.ducklake_schema as schemas on tables.schema_id = schemas.schema_id
            where
                tables.end_snapshot is null and schemas.end_snapshot is null
                and schemas.schema_name = {text(schema)} and tables.table_name = {text(name)}
        ),
        changes as (
            select begin_snapshot as snapshot_id from tables_
            union all
            select unnest([begin_snapshot, end_snapshot])
            from __ducklake_metadata_lake.ducklake_data_file
            where table_id in (select table_id from tables_)
            union all
            select unnest([begin_snapshot, end_snapshot])
            from __ducklake_metadata_lake.ducklake_delete_file
            where table_id in (select table_id from tables_)
        )
        select
            ({snapshot_sql(invocation_id, relation)}) as signed,
            (select max(snapshot_id) from changes) as changed,
            (select id from lake.current_snapshot()) as newest
    """


def fingerprint_sql(table: str) -> str:
    """One row (fingerprint, row_count) for a table expression such as `lake.s.t as published at (version => 7)`.

    The table must be named `published` in it. Equal for equal rows in any order and columns of equal names and
    types in the same order; one scan. The sum cannot overflow: 2^64 hashes of 64 bits fit a hugeint's 127 bits
    only up to 2^63 rows, which is enough.
    """
    return f"""
        with rows_ as (
            select count(*) as row_count, coalesce(sum(hash(published)::hugeint), 0) as row_hash
            from {table}
        ),
        columns_ as (
            select md5(string_agg(column_name || ' ' || column_type, ',')) as schema_hash
            from (describe select * from {table})
        )
        select schema_hash || '-' || row_count || '-' || row_hash as fingerprint, row_count
        from rows_, columns_
    """


# The part of a fingerprint that adds up over parts of the rows, the table being `published`.
SUMS_SQL = "select count(*), coalesce(sum(hash(published)::hugeint), 0) from published"


def sums(parts: Iterable[Row]) -> tuple[int, int]:
    """The sums of all rows, of what `SUMS_SQL` gives of each part."""
    ((count, total),) = added(parts)
    return int(count), int(total)


def summed_sql(table: str, row_count: int, row_hash: int) -> str:
    """As `fingerprint_sql`, of sums of `SUMS_SQL` that are known: nothing is scanned."""
    return f"""
        select
            md5(string_agg(column_name || ' ' || column_type, ',')) || '-{row_count}-{row_hash}' as fingerprint,
            {row_count} as row_count
        from (describe select * from {table})
    """


def insert_sql(invocation_id: str, relation: str, snapshot: str, sums: tuple[int, int] | None = None) -> str:
    """The statement that publishes a relation at a snapshot.

    Args:
        sums: Of `SUMS_SQL`, where an engine has them; otherwise this process's DuckDB scans the table.
    """
    published = f"{sql.table(relation)} as published at (version => {snapshot})"
    fingerprint = summed_sql(published, *sums) if sums else fingerprint_sql(published)
    return f"""
        insert into lake.ops.publications by name
        select
            {text(relation)} || '@' || {snapshot} as publication_id,
            {text(relation)} as relation,
            {snapshot} as snapshot_id,
            fingerprint,
            {text(duckdb.__version__)} as duckdb_version,
            row_count,
            {text(invocation_id)} as invocation_id,
            {text(this_process())} as built_by,
            {text(git_commit())} as git_commit,
            now() as published_at
        from ({fingerprint})
    """
