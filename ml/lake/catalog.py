"""DuckLake's catalog in a snapshot: conditions and queries of its tables, told `$relation` and `$snapshot`."""


def holds_sql(name: str) -> str:
    """Whether a row of the catalog holds in the snapshot."""
    return f"$snapshot >= {name}.begin_snapshot and $snapshot < coalesce({name}.end_snapshot, $snapshot + 1)"


# The id of the relation `schema.table`; no row where there is none.
TABLE_SQL = f"""
    select tables.table_id
    from __ducklake_metadata_lake.ducklake_table as tables
    inner join __ducklake_metadata_lake.ducklake_schema as schemas on tables.schema_id = schemas.schema_id
    where
        schemas.schema_name || '.' || tables.table_name = $relation
        and {holds_sql("tables")} and {holds_sql("schemas")}
"""
