"""Columns in Dagster's UI: the schema of a table that dbt knows, and from which columns of its parents each comes.

dagster-dbt's own `fetch_column_metadata` waits for the end of dbt, since it takes DuckDB for a file that one process
can open, and makes a dbt adapter of its own first, 3 s. Here the lake says what columns there are, while dbt goes on;
what each is made from is dagster-dbt's reading of the compiled SQL, by sqlglot: 1.0 s of a core for all models up to
the example's features, half of it for a table of 14 columns that are made from each other.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.asset_utils import default_metadata_from_dbt_resource_props
from dagster_dbt.core.dbt_cli_event import EventHistoryMetadata, _build_column_lineage_metadata

from ml.lake.sql import quoted

LINEAGE = "dagster/column_lineage"


def described(manifest: Mapping[str, Any], schema: str, table: str) -> Mapping[str, Any]:
    """What dbt's sources say of a table, as an asset's metadata: its name and columns; empty when it is no source."""
    for source in manifest["sources"].values():
        if (source["schema"], source["identifier"]) == (schema, table):
            return default_metadata_from_dbt_resource_props(source)
    return {}


def lineage(
    con: duckdb.DuckDBPyConnection,
    node: Mapping[str, Any],
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    target: Path,
) -> Mapping[str, Any]:
    """The metadata that says from which columns those of a built model come; empty for what is not SQL.

    Args:
        node: The model, of the manifest.
        target: dbt's target directory, with its compiled SQL.

    Raises:
        SqlglotError, ValueError: The SQL is beyond sqlglot.
    """
    if node["language"] != "sql":
        return {}
    parents = {id: manifest["nodes"].get(id) or manifest["sources"][id] for id in node["depends_on"]["nodes"]}
    columns = {relation["relation_name"]: _columns(con, relation) for relation in [*parents.values(), node]}
    ours = columns[node["relation_name"]]
    if not ours:
        return {}
    made = _build_column_lineage_metadata(
        EventHistoryMetadata(columns=ours, parents=columns), dict(node), manifest, translator, target, project=None
    )
    # It makes all names small, and the UI looks them up as the tables have them.
    theirs: dict[dg.AssetKey, dict[str, str]] = {}
    for unique_id, parent in parents.items():
        key = translator.get_asset_spec(manifest, unique_id, None).key
        theirs.setdefault(key, {}).update(_by_lower(columns[parent["relation_name"]]))
    deps = {
        _by_lower(ours)[column]: [
            dg.TableColumnDep(dep.asset_key, theirs[dep.asset_key].get(dep.column_name, dep.column_name))
            for dep in sorted(found, key=lambda dep: (dep.asset_key, dep.column_name))
        ]
        for column, found in made[LINEAGE].deps_by_column.items()
    }
    return {LINEAGE: dg.TableColumnLineage(deps)}


def _columns(con: duckdb.DuckDBPyConnection, relation: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    name = relation.get("alias") or relation["identifier"]
    try:
        found = con.execute(f"describe lake.{quoted(relation['schema'])}.{quoted(name)}").fetchall()
    except duckdb.CatalogException:  # an export without rows is not written
        return {}
    return {row[0]: {"data_type": row[1]} for row in found}


def _by_lower(names: Iterable[str]) -> dict[str, str]:
    return {name.lower(): name for name in names}
