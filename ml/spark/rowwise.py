"""Whether a query makes each of its rows of one row of one table: tasks run such a one as it is, without a dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import duckdb
import sqlglot
from sqlglot import exp

Table = tuple[str, str]  # schema, name
# What takes several rows, or gives none or several.
_SEVERAL = (
    *(exp.AggFunc, exp.Window, exp.Distinct, exp.Limit, exp.Offset, exp.Order, exp.Group, exp.Having, exp.Qualify),
    *(
        exp.SetOperation,
        exp.Join,
        exp.Lateral,
        exp.Unnest,
        exp.Explode,
        exp.TableSample,
        exp.Pivot,
        exp.Exists,
        exp.Values,
    ),
    *(exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp),
)


def inlined(sql: str, view: Callable[[Table], str | None]) -> exp.Expr:
    """A query of the lake with its views in place of their names, down to tables.

    Args:
        view: The query of a view; None of a table.
    """
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for table in list(tree.find_all(exp.Table)):
        if not table.db or (query := view((table.db, table.name))) is None:
            continue
        inner = inlined(query, view)
        table.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(table.alias or table.name))))
    return tree


def tables(tree: exp.Expr) -> list[Table]:
    """The tables of the lake that a query reads, as often as it does."""
    return [(table.db, table.name) for table in tree.find_all(exp.Table) if table.db]


def is_rowwise(tree: exp.Expr, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether each row that comes depends on one row of the only table that is read, and on nothing else."""
    if len(tables(tree)) != 1 or any(tree.find_all(*_SEVERAL)):
        return False
    named = {cte.alias for cte in tree.find_all(exp.CTE)}
    used = [table.name for table in tree.find_all(exp.Table) if not table.db]
    if any(name not in named for name in used):
        return False
    for select in tree.find_all(exp.Select):
        if select.args.get("from_") is None and select.args.get("from") is None:
            return False
    for inner in tree.find_all(exp.Subquery):
        if not isinstance(inner.parent, exp.From):
            return False
    called = _called(tree.sql(dialect="duckdb"))
    known = con.execute(
        """
        select function_name from duckdb_functions()
        where list_contains($called, function_name)
        group by function_name
        having bool_and(
            (function_type = 'scalar' and stability = 'CONSISTENT') or function_name in ('ifnull', 'nullif')
        )
        """,
        {"called": sorted(called)},
    ).fetchall()
    names = {name for (name,) in known}
    every = {name for (name,) in con.execute("select distinct function_name from duckdb_functions()").fetchall()}
    return not ((called & every) - names)


def _called(sql: str) -> set[str]:
    """Names before a bracket: functions, and words of SQL."""
    return {name.lower() for name in re.findall(r"([A-Za-z_]\w*)\s*\(", re.sub(r"'[^']*'", "''", sql))}


def of_published(tree: exp.Expr) -> str:
    """The query with its only table as `published`."""
    made = tree.copy()
    (table,) = [table for table in made.find_all(exp.Table) if table.db]
    alias = table.alias or table.name
    table.replace(exp.alias_(exp.to_table("published"), alias, table=True))
    return made.sql(dialect="duckdb")


def columns(tree: exp.Expr) -> set[str] | None:
    """Names in small letters, all columns among them that a query means; None where it may mean any.

    A bare `*` means none of itself: whoever counts rows needs no column that is not named elsewhere.
    """
    aliases = list(tree.find_all(exp.TableAlias))
    if any(alias.args.get("columns") for alias in aliases):  # named by their places
        return None
    rows = {alias.name.lower() for alias in aliases}
    rows |= {table.alias_or_name.lower() for table in tree.find_all(exp.Table)}
    for star in tree.find_all(exp.Star):
        holder = star.parent.parent if isinstance(star.parent, exp.Column) else star.parent
        if any(star.args.values()) or not isinstance(holder, exp.Select | exp.Count):
            return None
    if tree.find(exp.Columns, exp.PositionalColumn):
        return None
    found = set()
    for column in tree.find_all(exp.Column):
        if not column.table and column.name.lower() in rows:  # a row as one value
            return None
        found |= {part.name.lower() for part in column.parts}
    return found


def view_query(con: duckdb.DuckDBPyConnection) -> Callable[[Table], str | None]:
    """Of a view of the lake its query, None of a table."""
    found: Mapping[Table, str] = {
        (schema, name): sql
        for schema, name, sql in con.execute(
            "select schema_name, view_name, sql from duckdb_views() where database_name = 'lake'"
        ).fetchall()
    }

    def query(of: Table) -> str | None:
        sql = found.get(of)
        return None if sql is None else sqlglot.parse_one(sql, dialect="duckdb").expression.sql(dialect="duckdb")

    return query
