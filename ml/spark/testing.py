"""A data test of dbt run by the engine: how many rows fail, as DuckDB would count them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb

from ml.lake import first_line
from ml.spark import dialect, queries, rowwise, tables
from ml.spark.engine import Spark
from ml.spark.session import RefusedError, session, tests_above_rows


def is_large(con: duckdb.DuckDBPyConnection, relations: Iterable[str]) -> bool:
    """Whether one of the tables has so many rows that they are read by the engine that built it.

    Raises:
        EngineError: The setting that says how many is no whole number.
    """
    above = tests_above_rows()
    ((snapshot,),) = con.execute("select id from ducklake_current_snapshot('lake')").fetchall()
    return any(tables.rows(con, relation, snapshot) > above for relation in relations)


def failures(con: duckdb.DuckDBPyConnection, sql: str, counted: str, where: str) -> Any:
    """What an aggregate over the rows of a query is; of a test, mostly how many there are.

    Rows of a query that makes each of one row are counted by DuckDB in the engine's tasks. Any other is translated.

    Args:
        con: In which the query can be bound; nothing of it is run there.
        counted: The aggregate, dbt's `fail_calc`.
        where: The test, as errors name it.

    Raises:
        RefusedError: DuckDB is to run it: it would mean something else on the engine, or something of it is in no file.
        EngineError: The engine is not there, or fails.
    """
    whole = f"select {counted} as failures from (\n{sql}\n) as dbt_internal_test"
    try:
        con.execute(f"describe {whole}")
        query, outer = queries.read(con, sql, where), queries.read(con, whole, where)
        by_row = counted.strip().lower() == "count(*)" and rowwise.is_rowwise(query.tree, con)
    except duckdb.Error as error:  # DuckDB will say it better
        raise RefusedError(f"{where} cannot be bound: {first_line(error)}") from None
    if by_row:
        (table,) = query.reads
        spark = Spark(con, ".".join(table), query.snapshot, "published")
        part = f"select count(*) from ({rowwise.of_published(query.tree)}) as failing"
        return sum(count for (count,) in spark.of_parts(part, rowwise.columns(query.tree)))
    if refused := list(dict.fromkeys(dialect.refusals(outer.tree, outer.types))):
        raise RefusedError(f"{where} is not the engine's: {'; '.join(refused)}")
    said = dialect.worded(outer.tree, outer.named)
    with session() as remote:
        queries.name_views(con, remote, outer, where)
        ((found,),) = remote.sql(said).collect()
    return found
