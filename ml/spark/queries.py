"""A query of the lake's tables, as they are committed now: what it reads, and the engine's views of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ml.lake import first_line
from ml.spark import rowwise, tables
from ml.spark.rowwise import Table
from ml.spark.session import RefusedError


@dataclass(frozen=True)
class Query:
    """A query that the engine is to run.

    Attributes:
        tree: The query, views inlined.
        reads: Its tables, as often as it reads them.
        types: Of each table the columns, with DuckDB's types.
    """

    tree: exp.Expr
    reads: tuple[Table, ...]
    snapshot: int
    types: Mapping[Table, Mapping[str, str]]

    @property
    def named(self) -> dict[Table, str]:
        """The engine's view of each table."""
        return {table: f"tract_{place}" for place, table in enumerate(dict.fromkeys(self.reads))}


def read(con: duckdb.DuckDBPyConnection, sql: str, where: str) -> Query:
    """A query as it is to be run; nothing of it is.

    Args:
        where: The model or the test, as errors name it.

    Raises:
        RefusedError: It cannot be read, or reads something else than tables of the lake.
    """
    try:
        tree = rowwise.inlined(sql, rowwise.view_query(con))
    except SqlglotError as error:
        raise RefusedError(f"{where} cannot be read: {first_line(error)}") from None
    reads = tuple(rowwise.tables(tree))
    if not reads:
        raise RefusedError(f"{where} reads no table of the lake: it is DuckDB's (`meta: {{engine: duckdb}}`).")
    for table in tree.find_all(exp.Table):
        if table.catalog.lower() not in ("", "lake"):
            raise RefusedError(f"{where} reads {table.sql(dialect='duckdb')}, which is in no file of the lake.")
    ((snapshot,),) = con.execute("select id from ducklake_current_snapshot('lake')").fetchall()
    types = {table: tables.types(con, ".".join(table), snapshot) for table in dict.fromkeys(reads)}
    return Query(tree, reads, int(snapshot), types)


def frame(con: duckdb.DuckDBPyConnection, spark: Any, query: Query, table: Table, where: str) -> Any:
    """One of the tables as the engine's frame, without rows where it has no files."""
    relation = ".".join(table)
    found = tables.frame(con, spark, relation, query.snapshot)
    if found is None:
        return spark.createDataFrame([], tables.ddl(query.types[table], f"{where}, of {relation}"))
    return found


def name_views(con: duckdb.DuckDBPyConnection, spark: Any, query: Query, where: str) -> None:
    """Give a session the views that `Query.named` names."""
    for table, view in query.named.items():
        frame(con, spark, query, table, where).createOrReplaceTempView(view)
