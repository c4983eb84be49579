"""HOUSING_SOURCE: another place to land the same data from.

What is wrong with a file is tested in tests/housing/test_source.py; that dbt says it, in test_failed_build.py.
"""

from pathlib import Path

import pandas as pd
import pytest

from dbt_project.housing import source as california_housing
from ml import lake
from tests.conftest import run_dbt
from tests.dbt.conftest import Home, lake_of

pytestmark = pytest.mark.xdist_group("dbt source")


@pytest.fixture(scope="module")
def home(empty_lake: Home) -> Path:
    return empty_lake("source")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return california_housing.fetch(tmp_path_factory.mktemp("scikit_learn_data"))


def put(home: Path, frame: pd.DataFrame, name: str) -> str:
    """The frame as a file in the lake's bucket."""
    with lake_of(home) as con:
        place = f"{lake.root(con)}/sources/{name}"
        con.register("frame", frame)
        con.execute(f"copy frame to '{place}'")
    return place


@pytest.mark.parametrize("name", ["housing.csv", "housing.parquet"])
def test_a_file_on_s3_lands_the_loaders_frame(home: Path, loaded: pd.DataFrame, name: str) -> None:
    place = put(home, loaded, name)
    told = run_dbt(home, "build", "--select", "california_housing", HOUSING_SOURCE=place)
    assert told.returncode == 0, told.stdout
    with lake_of(home) as con:
        landed = con.execute("select * from lake.landing.california_housing").df()
    columns = list(loaded.columns)  # a table has no order of rows
    found, expected = (frame.sort_values(columns, ignore_index=True) for frame in (landed, loaded))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
