"""What dbt's tables hold is what scikit-learn would hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from dbt_project.housing import source as california_housing
from tests.dbt.conftest import lake_of

pytestmark = pytest.mark.xdist_group("dbt built")
Built = tuple[Path, str]

NOT_FEATURES = ["block_group_id", "spatial_block", "median_house_value"]


@pytest.fixture(scope="module")
def features(built: Built) -> pd.DataFrame:
    with lake_of(built[0]) as con:
        return con.execute("select * from lake.features.housing_features order by block_group_id").df()


@pytest.fixture(scope="module")
def scaler(features: pd.DataFrame) -> StandardScaler:
    return StandardScaler().fit(features.drop(columns=NOT_FEATURES))


def test_the_landed_table_is_the_loaders_frame_bit_for_bit(built: Built, tmp_path: Path) -> None:
    with lake_of(built[0]) as con:
        landed = con.execute("select * from lake.landing.california_housing").df()
    pd.testing.assert_frame_equal(landed, california_housing.fetch(tmp_path), check_exact=True)


def test_ratios_are_those_of_the_landed_columns(features: pd.DataFrame) -> None:
    assert (features.bedrooms_per_room == features.bedrooms_per_household / features.rooms_per_household).all()
    assert (features.rooms_per_person == features.rooms_per_household / features.people_per_household).all()
    assert (features.households == (features.population / features.people_per_household).round()).all()
    assert features.households.sum() == 10310499  # of the raw census data


def test_money_is_in_dollars(features: pd.DataFrame, tmp_path: Path) -> None:
    loaded = california_housing.fetch(tmp_path)
    assert features.median_income_usd.max() == 150001
    assert features.median_house_value.agg(["min", "max"]).tolist() == [14999, 500001]
    assert sorted(features.median_income_usd) == sorted(round(loaded.MedInc * 10000, 2))
    assert sorted(features.median_house_value) == sorted(round(loaded.MedHouseVal * 100000, 2))


def test_a_spatial_block_is_the_cell_of_its_south_west_corner(features: pd.DataFrame) -> None:
    south = np.floor(features.latitude).astype(int).astype(str)
    west = (-np.floor(features.longitude)).astype(int).astype(str)
    assert (features.spatial_block == "n" + south + "w" + west).all()


def test_scaling_is_that_of_standard_scaler(built: Built, features: pd.DataFrame, scaler: StandardScaler) -> None:
    with lake_of(built[0]) as con:
        scaling = con.execute("select * from lake.features.housing_scaling").df().set_index("feature")
    assert set(scaling.index) == set(scaler.feature_names_in_)
    scaling = scaling.loc[list(scaler.feature_names_in_)]
    np.testing.assert_allclose(scaling["mean"], scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaling["scale"], scaler.scale_, rtol=1e-12)
    assert set(scaling.row_count) == {20640}


def test_the_scaled_view_is_its_transform(built: Built, features: pd.DataFrame, scaler: StandardScaler) -> None:
    names = list(scaler.feature_names_in_)
    with lake_of(built[0]) as con:
        scaled = con.execute("select * from lake.features.housing_scaled order by block_group_id").df()
    np.testing.assert_allclose(scaled[names], scaler.transform(features[names]), rtol=1e-9, atol=1e-11)
    pd.testing.assert_frame_equal(scaled[NOT_FEATURES], features[NOT_FEATURES], check_exact=True)
