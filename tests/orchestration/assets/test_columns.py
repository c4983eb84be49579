"""What Dagster's UI shows of columns: those of dbt's sources, and from which columns of which asset each comes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ml.manifest import read_exposures
from orchestration.assets import columns
from orchestration.assets.translator import Translator
from tests.dbt.conftest import lake_of

pytestmark = pytest.mark.xdist_group("dbt built")

Lineage = Mapping[str, list[str]]

ONE_FOR_ONE = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")


@pytest.fixture(scope="module")
def manifest(built: tuple[Path, str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((built[0] / "target" / "manifest.json").read_text())
    return found


@pytest.fixture(scope="module")
def lineage(built: tuple[Path, str], manifest: Mapping[str, Any]) -> dict[str, Lineage]:
    """Of each model: column to the columns that it comes from, as asset.column."""
    home, _ = built
    translator = Translator(read_exposures(manifest))
    found: dict[str, Lineage] = {}
    with lake_of(home) as con:
        for node in manifest["nodes"].values():
            if node["resource_type"] != "model":
                continue
            told = columns.lineage(con, node, manifest, translator, home / "target")
            deps = told[columns.LINEAGE].deps_by_column if told else {}
            found[node["name"]] = {
                column: [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in of]
                for column, of in deps.items()
            }
    return found


def test_a_column_comes_from_these(lineage: dict[str, Lineage]) -> None:
    assert lineage["stg_housing"]["median_income_usd"] == ["landing/california_housing.MedInc"]
    assert lineage["stg_housing"]["block_group_id"] == sorted(
        f"landing/california_housing.{name}" for name in ONE_FOR_ONE
    )
    staging, features = "staging/stg_housing", "features/housing_features"
    assert lineage["housing_features"]["rooms_per_person"] == [
        f"{staging}.people_per_household",
        f"{staging}.rooms_per_household",
    ]
    assert lineage["housing_scaled"]["population"] == [
        f"{features}.population",
        "features/housing_scaling.feature",
        "features/housing_scaling.mean",
        "features/housing_scaling.scale",
    ]
    valuations = lineage["housing_valuations"]
    assert valuations["predicted_value"] == ["housing_value/predictions.prediction"]
    assert valuations["population"] == [f"{features}.population"]


def test_names_are_as_the_tables_have_them(lineage: dict[str, Lineage]) -> None:
    assert lineage["export_california_housing"] == {
        name: [f"landing/california_housing.{name}"] for name in (*ONE_FOR_ONE, "MedHouseVal")
    }


def test_what_is_not_sql_or_not_written_has_none(lineage: dict[str, Lineage]) -> None:
    assert lineage["california_housing"] == {}  # a Python model
    assert lineage["export_housing_valuations"] == {}  # nothing is predicted in this lake, so there is no file


def test_a_table_that_is_no_source_is_not_described(manifest: Mapping[str, Any]) -> None:
    assert columns.described(manifest, "ml", "nobodys") == {}
    assert columns.described(manifest, "ml", "predictions")["dagster/table_name"] == "lake.ml.predictions"
