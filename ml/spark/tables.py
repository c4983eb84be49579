"""A table of the lake at a snapshot as the engine's frame of its files."""

from collections.abc import Mapping
from typing import Any

import duckdb

from ml.lake import catalog
from ml.lake.sql import quoted
from ml.spark.session import RefusedError, there


def types(con: duckdb.DuckDBPyConnection, relation: str, snapshot: int) -> dict[str, str]:
    """The columns of a relation `schema.table`, and their types, in order."""
    schema, name = relation.split(".", 1)
    table = f"lake.{quoted(schema)}.{quoted(name)}"
    return {row[0]: row[1] for row in con.execute(f"describe from {table} at (version => {snapshot})").fetchall()}


def rows(con: duckdb.DuckDBPyConnection, relation: str, snapshot: int) -> int:
    """How many rows its files have, by the catalog: nothing is scanned."""
    ((found,),) = con.execute(
        f"""
        select coalesce(sum(files.record_count), 0)
        from __ducklake_metadata_lake.ducklake_data_file as files
        where files.table_id in ({catalog.TABLE_SQL}) and {catalog.holds_sql("files")}
        """,
        {"relation": relation, "snapshot": snapshot},
    ).fetchall()
    return int(found)


def frame(con: duckdb.DuckDBPyConnection, spark: Any, relation: str, snapshot: int) -> Any:
    """Its rows, all of them, as a `pyspark.sql.DataFrame`; None where it has no files.

    Raises:
        RefusedError: Rows or columns of it are not all in its files: some were deleted or updated, or columns changed.
    """
    schema, name = relation.split(".", 1)
    found = con.execute(
        f"""
        select data_file, delete_file
        from ducklake_list_files('lake', ?, schema => ?, snapshot_version => {int(snapshot)})
        """,
        [name, schema],
    ).fetchall()
    if any(deleted for _, deleted in found):
        raise RefusedError(
            f"{relation} has deleted rows at snapshot {snapshot}, which its files still hold: an engine reads files. "
            f"Call ducklake_rewrite_data_files('lake', '{name}', schema => '{schema}'), or build the table anew."
        )
    ((changed,),) = con.execute(
        f"""
        select count(*)
        from __ducklake_metadata_lake.ducklake_column as columns_
        where
            columns_.table_id in ({catalog.TABLE_SQL}) and {catalog.holds_sql("columns_")}
            and columns_.begin_snapshot > (
                select min(first.begin_snapshot) from __ducklake_metadata_lake.ducklake_column as first
                where first.table_id = columns_.table_id
            )
        """,
        {"relation": relation, "snapshot": snapshot},
    ).fetchall()
    if changed:
        raise RefusedError(
            f"{relation} has {changed} columns that were added or changed after its first rows, which not all of its "
            "files have: build the table anew, and an engine can read it."
        )
    if not found:
        return None
    return spark.read.parquet(*[there(path) for path, _ in found])


def write(frame: Any, place: str) -> None:
    """Write a frame as parquet files to a directory that is not there yet."""
    frame.write.mode("error").option("compression", "zstd").parquet(there(place))


def ddl(columns: Mapping[str, str], where: str) -> str:
    """Columns as the engine declares them.

    Raises:
        RefusedError: A type has no counterpart that parquet keeps.
    """
    return ", ".join(
        f"`{name.replace('`', '``')}` {spark_type(kind, f'{where}, column {name}')}" for name, kind in columns.items()
    )


_PLAIN = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "VARCHAR": "string",
    "BLOB": "binary",
    "DATE": "date",
    "TIMESTAMP": "timestamp_ntz",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}


def spark_type(kind: str, where: str) -> str:
    """A type of DuckDB as the engine's that is the same in parquet.

    Raises:
        RefusedError: There is none.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind.startswith("DECIMAL("):
        return kind.lower()
    if kind.endswith("[]"):
        return f"array<{spark_type(kind[:-2], where)}>"
    if kind.startswith("MAP("):
        key, _, value = kind[4:-1].partition(", ")
        return f"map<{spark_type(key, where)}, {spark_type(value, where)}>"
    raise RefusedError(
        f"{where}: {kind} has no counterpart on Spark. Cast it to one of {', '.join(_PLAIN)} or DECIMAL there."
    )
