"""A dbt model's rows made by the engine: files below the lake's data path, for the build's own transaction to adopt."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import duckdb

from ml.lake import adoption
from ml.lake.sql import quoted
from ml.spark import dialect, queries, rowwise, tables, tasks
from ml.spark.session import session


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

    @property
    def ddl(self) -> str:
        """The columns, as DuckDB declares them."""
        return ", ".join(f"{quoted(column)} {kind}" for column, kind in self.columns.items())


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
    query = queries.read(con, sql, where)
    by_row = rowwise.is_rowwise(query.tree, con)
    if by_row:
        cast = ", ".join(f"cast({quoted(column)} as {kind}) as {quoted(column)}" for column, kind in columns.items())
        made_by = f"select {cast} from ({rowwise.of_published(query.tree)})"
    else:
        cast = ", ".join(
            f"cast(`{column}` as {tables.spark_type(kind, where)}) as `{column}`" for column, kind in columns.items()
        )
        made_by = f"select {cast} from ({dialect.translated(query.tree, query.named, query.types, where)}) as made"
    place = adoption.directory(con, schema, name)
    with session() as spark:
        if by_row:
            (table,) = query.reads
            rows = queries.frame(con, spark, query, table, where)
            made = rows.mapInArrow(partial(tasks.stream, made_by, tasks.packages(), query.types[table]), ddl)
        else:
            queries.name_views(con, spark, query, where)
            made = spark.sql(made_by)
        tables.write(made, place)
    files = adoption.files(con, place)
    way = "row by row in tasks" if by_row else "as translated SQL"
    return Built(columns, tuple(files), adoption.count(con, files), way, time.monotonic() - began)


def statements(built: Built, schema: str, name: str, required: Iterable[str]) -> list[str]:
    """What makes the built files rows of a table that was made in the same transaction, `adoption.statements`."""
    return adoption.statements(schema, name, built.files, "true", built.rows, required)
