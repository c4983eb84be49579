"""dbt's docs: complete, without a warning, true in their examples, and drawn through the exposure to the marts."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from ml import lake
from ml.lake import locks
from orchestration.commands import docs
from tests.conftest import run_dbt
from tests.dbt.conftest import Told, Worked, lake_of

pytestmark = pytest.mark.xdist_group("dbt worked")


@dataclass(frozen=True)
class Docs:
    told: Told
    index: str
    manifest: dict[str, Any]
    catalog: dict[str, Any]


@pytest.fixture(scope="module")
def generated(worked: Worked, tmp_path_factory: pytest.TempPathFactory) -> Docs:
    """The docs of a lake in which every table is, made beside a process that holds the build lock."""
    target = tmp_path_factory.mktemp("docs")
    (target / "partial_parse.msgpack").write_bytes((worked.home / "target" / "partial_parse.msgpack").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(worked.home))
        with locks.lock("build"):
            told = run_dbt(worked.home, "--warn-error", "docs", "generate", DBT_TARGET_PATH=str(target))
    assert told.returncode == 0, told.stdout
    return Docs(
        told,
        (target / "index.html").read_text(),
        json.loads((target / "manifest.json").read_text()),
        json.loads((target / "catalog.json").read_text()),
    )


def described(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Unique id → node of every model and source."""
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    return {**models, **manifest["sources"]}


def test_docs_are_generated_without_a_warning_and_without_waiting(generated: Docs) -> None:
    assert "warn" not in generated.told.stdout.lower()
    assert "Waiting for the lock" not in generated.told.stdout
    assert generated.catalog["errors"] is None


def test_every_table_of_the_project_is_in_the_catalog(generated: Docs) -> None:
    found = set(generated.catalog["nodes"]) | set(generated.catalog["sources"])
    assert found == set(described(generated.manifest))


def test_every_table_of_the_lake_is_in_the_project(generated: Docs, worked: Worked) -> None:
    declared = {
        f"{table['schema']}.{table.get('alias', table['name'])}" for table in described(generated.manifest).values()
    }
    with lake_of(worked.home) as con:
        con.execute("select schema_name || '.' || table_name from duckdb_tables() where database_name = 'lake'")
        assert {name for (name,) in con.fetchall()} - declared == set()


def test_every_column_of_every_table_is_described(generated: Docs) -> None:
    tables = described(generated.manifest)
    silent = [
        f"{unique_id}.{column}"
        for unique_id, table in (generated.catalog["nodes"] | generated.catalog["sources"]).items()
        for column in table["columns"]
        if not tables[unique_id]["columns"].get(column, {}).get("description")
    ]
    assert silent == []


def test_columns_that_are_described_exist(generated: Docs) -> None:
    found = generated.catalog["nodes"] | generated.catalog["sources"]
    gone = {
        unique_id: set(table["columns"]) - set(found[unique_id]["columns"])
        for unique_id, table in described(generated.manifest).items()
    }
    assert {unique_id: names for unique_id, names in gone.items() if names} == {}


def test_the_grain_comes_first(generated: Docs) -> None:
    tables = described(generated.manifest).values()
    assert [table["name"] for table in tables if not table["description"].startswith("One row per ")] == []


def test_exposures_macros_sources_and_named_tests_are_described(generated: Docs) -> None:
    manifest = generated.manifest
    ours = [node for node in manifest["macros"].values() if node["package_name"] in ("housing", "tract")]
    singular = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "test" and "test_metadata" not in node
    ]
    others = [*manifest["exposures"].values(), *manifest["unit_tests"].values(), *manifest["groups"].values()]
    sources = [
        {"name": node["source_name"], "description": node["source_description"]}
        for node in manifest["sources"].values()
    ]
    assert [node["name"] for node in [*ours, *singular, *others, *sources] if not node["description"]] == []
    assert [
        f"{node['name']}({argument['name']})"
        for node in ours
        for argument in node["arguments"]
        if not argument["description"]
    ] == []


def test_examples_run(generated: Docs, worked: Worked) -> None:
    examples = {
        table["name"]: re.findall(r"```sql\n(.*?)```", table["description"], re.DOTALL)
        for table in described(generated.manifest).values()
        if table["resource_type"] == "model" and table["language"] == "sql"
    }
    with lake_of(worked.home) as con:
        exports = f"{lake.root(con)}/exports/"
        for name, (example,) in examples.items():  # one each
            con.execute(example.replace("s3://tract/exports/", exports))
            assert con.fetchone() is not None or name in ("model_monitoring", "model_live_errors")  # nothing drifted


def test_lineage_goes_from_the_landed_data_through_the_exposure_to_the_marts(generated: Docs) -> None:
    page = docs.page(generated.index, generated.manifest, generated.catalog)
    (inlined,) = re.findall(r'"parent_map": (\{.*?\})', page)
    parents = json.loads(inlined)

    def above(unique_id: str) -> set[str]:
        return {unique_id}.union(*(above(parent) for parent in parents.get(unique_id, [])))

    (on_the_way,) = parents["source.housing.ml.predictions"]
    assert on_the_way == "exposure.housing.housing_value"
    assert parents["source.tract.ops.publications"] == ["model.housing.housing_features"]
    for mart in ("housing.housing_valuations", "tract.model_monitoring", "housing.export_housing_valuations"):
        assert {on_the_way, "model.housing.california_housing"} <= above(f"model.{mart}")


def test_another_page_than_dbts_is_not_patched_in_silence(generated: Docs) -> None:
    with pytest.raises(docs.DocsError, match=r"0 times, not once"):
        docs.page(generated.index.replace('"saved_query"', '"query"'), generated.manifest, generated.catalog)
