"""A dbt model's rows made by the engine: files below the lake's data path, for the build's own transaction to adopt."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb

from ml.lake import adoption
from ml.lake.sql import quoted
from ml.spark import dialect, rowwise, tables, tasks
from ml.spark.session import EngineError, session


@dataclass(frozen=True)
class Built:
    """Files that wait for their table.

    Attributes:
        columns: Of the model, with DuckDB's types.
        way: How the rows were made, for the log.
    """

    columns: Mapping[str, str]
    files: tuple[str, ...]
    rows: int
    way: str
    seconds: float


def build(con: duckdb.DuckDBPyConnection, sql: str, schema: str, name: str, where: str) -> Built:
    """Let the engine make the rows of a query, from the lake's tables as they are committed now.

    A query that makes each row of one row of one table is run as it is, by DuckDB in the engine's tasks: the same bits.
    Any other is translated, or refused.

    Args:
        con: In which the query can be bound; nothing of it is run there.
        schema: Of the table to be, like its name.
        where: The model's file, as errors name it.

    Raises:
        EngineError: The engine is not there, or fails; the query is refused; a table cannot be read by its files.
    """
    began = time.monotonic()
    columns = {row[0]: row[1] for row in con.execute(f"describe {sql}").fetchall()}
    ddl = tables.ddl(columns, where)
    tree = rowwise.inlined(sql, rowwise.view_query(con))
    reads = rowwise.tables(tree)
    if not reads:
        raise EngineError(f"{where} reads no table of the lake: build it by DuckDB (`meta: {{engine: duckdb}}`).")
    ((snapshot,),) = con.execute("select id from ducklake_current_snapshot('lake')").fetchall()
    types = {table: tables.types(con, ".".join(table), snapshot) for table in reads}
    by_row = rowwise.is_rowwise(tree, con)
    if by_row:
        cast = ", ".join(f"cast({quoted(column)} as {kind}) as {quoted(column)}" for column, kind in columns.items())
        query = f"select {cast} from ({rowwise.of_published(tree)})"
    else:
        named = {table: "tract_" + "_".join(table) for table in reads}
        cast = ", ".join(
            f"cast(`{column}` as {tables.spark_type(kind, where)}) as `{column}`" for column, kind in columns.items()
        )
        query = f"select {cast} from ({dialect.translated(tree, named, types, where)}) as made"
    place = adoption.directory(con, schema, name)
    with session() as spark:
        frames = {table: _frame(con, spark, table, snapshot, types[table], where) for table in dict.fromkeys(reads)}
        if by_row:
            (frame,) = frames.values()
            made = frame.mapInArrow(partial(tasks.stream, query, tasks.packages(), types[reads[0]]), ddl)
        else:
            for table, frame in frames.items():
                frame.createOrReplaceTempView(named[table])
            made = spark.sql(query)
        tables.write(made, place)
    files = adoption.files(con, place)
    way = "row by row in tasks" if by_row else "as translated SQL"
    return Built(columns, tuple(files), adoption.count(con, files), way, time.monotonic() - began)


def statements(built: Built, schema: str, name: str, required: Iterable[str]) -> list[str]:
    """What makes the built files rows of a table that was made in the same transaction, `adoption.statements`."""
    return adoption.statements(schema, name, built.files, "true", built.rows, required)


def _frame(
    con: duckdb.DuckDBPyConnection,
    spark: Any,
    table: rowwise.Table,
    snapshot: int,
    types: Mapping[str, str],
    where: str,
) -> Any:
    relation = ".".join(table)
    found = tables.frame(con, spark, relation, snapshot)
    return spark.createDataFrame([], tables.ddl(types, f"{where}, of {relation}")) if found is None else found
