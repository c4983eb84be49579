"""What the lake holds of an environment that is not production, and what takes it away again."""

from collections.abc import Collection

import duckdb

from ml import environments
from ml.lake.sql import quoted

# Tables of `ml` and `ops` whose rows are an exposure's.
TABLES_SQL = """
    select tables.schema_name, tables.table_name
    from duckdb_tables() as tables
    inner join duckdb_columns() as columns
        on
            tables.database_name = columns.database_name
            and tables.schema_name = columns.schema_name
            and tables.table_name = columns.table_name
    where
        tables.database_name = 'lake' and tables.schema_name in ('ml', 'ops') and columns.column_name = 'exposure'
    order by all
"""


def exposures(con: duckdb.DuckDBPyConnection, environment: str) -> list[str]:
    """The exposures that have rows, as the lake names them."""
    parts = [
        f"select exposure from lake.{quoted(schema)}.{quoted(name)} where starts_with(exposure, $prefix)"
        for schema, name in con.execute(TABLES_SQL).fetchall()
    ]
    if not parts:
        return []
    rows = con.execute(f"{' union '.join(parts)} order by 1", {"prefix": f"{environment}."}).fetchall()
    return [row[0] for row in rows]


def schemas(con: duckdb.DuckDBPyConnection, environment: str, but: Collection[str] = ()) -> list[str]:
    """Its schemas.

    Args:
        but: Schemas of production's, whose names may begin alike.
    """
    rows = con.execute(
        "select schema_name from duckdb_schemas() where database_name = 'lake' and starts_with(schema_name, ?) "
        "order by 1",
        [environments.schema_prefix(environment)],
    ).fetchall()
    return [row[0] for row in rows if row[0] not in but]


def drop(con: duckdb.DuckDBPyConnection, environment: str, schemas: Collection[str]) -> int:
    """Drop its schemas and delete its rows, inside the caller's transaction; how many rows."""
    for schema in schemas:
        con.execute(f"drop schema lake.{quoted(schema)} cascade")
    deleted = 0
    for schema, name in con.execute(TABLES_SQL).fetchall():
        deleted += _deleted(con, schema, name, "starts_with(exposure, ?)", f"{environment}.")
    deleted += _deleted(con, "ops", "publications", "split_part(relation, '.', 1) in (select unnest(?))", list(schemas))
    return deleted


def _deleted(con: duckdb.DuckDBPyConnection, schema: str, name: str, which: str, parameter: object) -> int:
    table = f"lake.{quoted(schema)}.{quoted(name)}"
    ((rows,),) = con.execute(f"select count(*) from {table} where {which}", [parameter]).fetchall()
    if rows:
        con.execute(f"delete from {table} where {which}", [parameter])
    return int(rows)
