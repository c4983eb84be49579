"""The tables and views that ml writes, how the lake stores every table, and how a row is added: by name."""

from collections.abc import Collection, Iterable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import duckdb

from ml.errors import TractError
from ml.exposures import REMOVED, Exposure
from ml.lake import sql
from ml.lake.sql import quoted
from ml.records import standing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# DuckLake's options, for every client. All rows are parquet: by default ten rows of an insert may stay in the catalog.
# Doubles packed by parquet's second version, then zstd's quickest level: 10 million rows of features are 0.71 GB, and
# written in 4.9 s to a disk, in 12.8 s to S3; DuckDB's default (snappy, version 1) makes 1.02 GB in 5.5 and 16.9 s.
OPTIONS = {
    "data_inlining_row_limit": "0",
    "parquet_compression": "zstd",
    "parquet_compression_level": "1",
    "parquet_version": "2",
}


def option_statements(present: Collection[str] = ()) -> list[str]:
    """Statements that set a lake's options, but for those that are present: what somebody chose otherwise stays.

    It is done once also since setting an option while another process commits fails.
    """
    return [f"call lake.set_option('{name}', '{value}')" for name, value in OPTIONS.items() if name not in present]


def statements(exposures: Iterable[Exposure], present: Collection[str] = ()) -> list[str]:
    """Idempotent statements that make the tables and views: those of `tables.sql`, then the exposures' predictions.

    A table of predictions carries the key's own name and type, so that it joins to the features as it is.

    Args:
        present: Tables and views that are there, as `ml.predictions`. A view that is there is left as it is: its table
            may be of a time when the exposure had another key, which `check` says.
    """
    fixed = files("ml.records").joinpath("tables.sql").read_text(encoding="utf-8")
    made = [statement.query for statement in duckdb.extract_statements(fixed)]
    for exposure in exposures:
        key = {name: f"{exposure.columns[name]} not null" for name in exposure.spec.key_columns}
        table, predicted = exposure.spec.predictions_table, exposure.predicted_columns
        beside = ((table, predicted), (exposure.heldout, exposure.heldout_columns), (f"removed_{table}", REMOVED))
        for name, columns in beside:
            lines = [f"{quoted(column)} {ddl}" for column, ddl in (key | columns).items()]
            made.append(f"create table if not exists lake.ml.{quoted(name)} ({', '.join(lines)})")
        current = standing.predictions_sql(table, key, [*key, *predicted], standing.NEWEST)
        if f"ml.current_{table}" not in present:
            made.append(f"create view if not exists lake.ml.{quoted(f'current_{table}')} as {current}")
    return list(dict.fromkeys(made))


class TableError(TractError):
    """A table of predictions was made for other columns; the message names it, and what to do."""


def check(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    """See that the exposure's table of predictions can take what it predicts: it may be of a time when it asked for
    something else.

    Raises:
        TableError: It was made for numbers and not for classes, or the other way, or for classes of another type.
    """
    try:
        there = {row[0]: row[1] for row in con.execute(columns_sql(exposure)).fetchall()}
    except duckdb.CatalogException:
        return  # the next build makes it
    if why := misfit(exposure, there):
        raise TableError(why)


def columns_sql(exposure: Exposure) -> str:
    """The query for name and type of each column of the exposure's table of predictions."""
    return f"select column_name, column_type from (describe lake.ml.{quoted(exposure.spec.predictions_table)})"


def misfit(exposure: Exposure, there: Mapping[str, str]) -> str:
    """Why a table of predictions cannot take what the exposure predicts; empty where it can.

    Args:
        there: The type of each of its columns.
    """
    asked = exposure.predicted_columns
    if (
        set(there) >= {*asked, *exposure.spec.key_columns}
        and there["prediction"] == asked["prediction"].removesuffix(" not null").upper()
    ):
        return ""
    beside = ", ".join(name for name in there if name not in asked)
    return (
        f"Exposure {exposure.name}: ml.{exposure.spec.predictions_table} has predictions of type "
        f"{there.get('prediction')} beside {beside}, and what it asks for now is "
        f"{exposure.task} of {exposure.columns[exposure.spec.target]} by {', '.join(exposure.spec.key_columns)}. Name "
        "another table in meta.ml.predictions, and build once more."
    )


def rows(con: duckdb.DuckDBPyConnection, query: str, parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query, each a mapping by the names of its columns."""
    relation = con.execute(query, parameters)
    names = [column[0] for column in relation.description or []]
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def insert(con: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any], moment: str) -> None:
    """Add one row, by the names of its columns, inside the caller's transaction.

    Args:
        table: As `ops.consumptions`.
        moment: The column that says when: now.
    """
    columns = ", ".join(f"${name} as {quoted(name)}" for name in row)
    con.execute(f"insert into {sql.table(table)} by name select {columns}, now() as {quoted(moment)}", dict(row))


def append(
    con: duckdb.DuckDBPyConnection,
    table: str,
    rows: "pd.DataFrame | pa.Table",
    same: Mapping[str, Any],
    moment: str | None = None,
) -> None:
    """Add the rows of a frame, or of a table of Arrow, by the names of its columns, inside the caller's transaction.

    Args:
        table: As `ml.model_metrics`.
        same: Columns that are the same in every row.
        moment: The column that says when, now; None where there is none.
    """
    columns = [f"${name} as {quoted(name)}" for name in same] + ([f"now() as {quoted(moment)}"] if moment else [])
    con.register("appended", rows)
    try:
        con.execute(
            f"insert into {sql.table(table)} by name select {', '.join(columns)}, appended.* from appended", dict(same)
        )
    finally:
        con.unregister("appended")
