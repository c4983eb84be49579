"""The second exposure, where it is on: its table is built, tested and published, and its recipe can be made."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.learning import unfitted
from ml.manifest import read_exposures
from tests.conftest import ROOT, run_dbt
from tests.dbt.conftest import PUBLISHED, Home, Told, about_publishing, lake_of

pytestmark = pytest.mark.xdist_group("dbt new region")
TABLE = "features.housing_features_with_surroundings"
FOLDER = ROOT / "dbt_project" / "housing" / "models" / "features" / "new_region"


@pytest.fixture(scope="module")
def new_region(empty_lake: Home) -> tuple[Path, Told]:
    home = empty_lake("new_region")
    return home, run_dbt(home, "build", "--select", "+housing_features_with_surroundings", HOUSING_NEW_REGION="true")


@pytest.fixture(scope="module")
def manifest(new_region: tuple[Path, Told]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((new_region[0] / "target" / "manifest.json").read_text())
    return found


@pytest.fixture(scope="module")
def rows(new_region: tuple[Path, Told]) -> pd.DataFrame:
    with lake_of(new_region[0]) as con:
        return con.sql(f"from lake.{TABLE} order by block_group_id").df()


def test_its_table_is_built_tested_and_published(new_region: tuple[Path, Told]) -> None:
    told = new_region[1]
    assert told.returncode == 0, told.stdout
    assert set(about_publishing(told)) == {PUBLISHED, PUBLISHED.replace("features.housing_features", TABLE)}


def test_it_asks_about_groups_that_were_not_seen(manifest: Mapping[str, Any]) -> None:
    known, new = read_exposures(manifest)
    assert (known.name, new.name) == ("housing_value", "housing_value_new_region")
    assert (new.relation, new.spec.split, new.spec.group) == (TABLE, "group", "spatial_block")
    assert new.spec.slices == known.spec.slices
    assert set(known.features) < set(new.features)
    made = unfitted.estimator(new.spec.candidates[1], new.spec.seed)
    assert made[0].transformers[0][2] == ["latitude", "longitude"]


def test_no_column_beside_the_target_is_made_of_it(manifest: Mapping[str, Any]) -> None:
    (parent,) = manifest["nodes"]["model.housing.housing_surroundings"]["depends_on"]["nodes"]
    assert parent == "model.housing.housing_features"
    assert "median_house_value" not in (FOLDER / "housing_surroundings.py").read_text()
    assert "median_house_value" not in (FOLDER / "housing_coast.sql").read_text()


def test_each_row_keeps_its_own_columns(rows: pd.DataFrame, new_region: tuple[Path, Told]) -> None:
    with lake_of(new_region[0]) as con:
        own = con.sql("from lake.features.housing_features order by block_group_id").df()
    assert len(rows) == 20640
    pd.testing.assert_frame_equal(rows[list(own)], own, check_exact=True)


def test_the_coast_is_as_far_as_its_nearest_point_on_the_globe(rows: pd.DataFrame) -> None:
    drawn = re.findall(r"\(\d+, ([\d.]+), (-[\d.]+)\)", (FOLDER / "housing_coast.sql").read_text())
    corners = np.radians(np.array(drawn, dtype=np.float64))
    assert len(corners) == 40
    shares = np.linspace(0, 1, 200)[:, None]
    shore = np.concatenate([a + shares * (b - a) for a, b in pairwise(corners)])
    some = rows.iloc[::100]
    at = np.radians(some[["latitude", "longitude"]].to_numpy())[:, None]
    half = np.sin((at[..., 0] - shore[:, 0]) / 2) ** 2
    half += np.cos(at[..., 0]) * np.cos(shore[:, 0]) * np.sin((at[..., 1] - shore[:, 1]) / 2) ** 2
    km = 2 * 6371.0088 * np.arcsin(np.sqrt(half.min(axis=1)))
    assert some["km_to_coast"].to_numpy() == pytest.approx(km, rel=0.02, abs=0.2)


def test_where_it_is_off_nothing_of_it_is_there(parsed: Path) -> None:
    off = json.loads((parsed.parent / "manifest.json").read_text())
    assert [exposure.name for exposure in read_exposures(off)] == ["housing_value"]
    assert not [
        name for name in off["nodes"] if name.startswith("model.") and "new_region" in off["nodes"][name]["path"]
    ]
