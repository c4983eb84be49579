"""The example's features, built by the engine through dbt: the same rows to the bit, published as ever."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import cloned_lake
from tests.dbt.conftest import copied, lake_of, publications_of, replace_in
from tests.spark.processes import dbt

BUILD = ("build", "--select", "+housing_features", "housing_scaling", "--exclude-resource-type", "unit_test")

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark"), pytest.mark.slow]


def test_a_build_by_the_engine_publishes_the_same_rows(
    servers: Path, after_a_build: Path, engine: str, tmp_path: Path
) -> None:
    home = cloned_lake(servers, after_a_build, tmp_path / "home")
    (before,), before_it = publications_of(home), scaling(home)
    told = dbt(home, *BUILD, TRACT_SPARK_TESTS_ABOVE_ROWS="1000")
    assert told.returncode == 0, told.stdout
    assert "Spark made 20,640 rows of features.housing_features row by row in tasks" in told.stdout
    assert "rows of features.housing_scaling as translated SQL" in told.stdout
    assert "Spark ran the test unique_housing_features_block_group_id in" in told.stdout
    assert "Spark ran the test spatial_blocks_are_enough in" in told.stdout
    assert "Spark ran the test unique_housing_scaling_feature in" not in told.stdout  # eleven rows
    assert "Spark made the counts of features.housing_features." in told.stdout
    assert "Spark made the fingerprint of features.housing_features." in told.stdout
    _, second = publications_of(home)
    assert second["fingerprint"] == before["fingerprint"]
    after = scaling(home)
    assert len(after) == 11
    np.testing.assert_allclose([row[1:] for row in after], [row[1:] for row in before_it], rtol=1e-12)


def scaling(home: Path) -> list[tuple[str, float, float, int]]:
    with lake_of(home) as con:
        rows = con.execute("select feature, mean, scale, row_count from lake.features.housing_scaling order by 1")
        return rows.fetchall()


def test_sql_that_would_mean_something_else_builds_nothing(
    servers: Path, after_a_build: Path, engine: str, tmp_path: Path
) -> None:
    home, project = cloned_lake(servers, after_a_build, tmp_path / "home"), copied(tmp_path)
    features = project / "dbt_project" / "housing" / "models" / "features" / "housing_scaling.sql"
    replace_in(features, "count(*) as row_count", "count(*) + cast(0 * max(hash(population)) as bigint) as row_count")
    told = dbt(home, "build", "--select", "housing_scaling", project=project)
    assert told.returncode == 1
    assert "housing_scaling.sql cannot be built on Spark, and nothing was run:" in told.stdout
    assert "HASH(housing_features.population): DuckDB's hash() is no other engine's; md5() is" in told.stdout
    assert "Traceback" not in told.stdout


def test_a_server_that_is_not_there_is_a_sentence(servers: Path, after_a_build: Path, tmp_path: Path) -> None:
    home = cloned_lake(servers, after_a_build, tmp_path / "home")
    told = dbt(home, *BUILD, TRACT_SPARK="sc://127.0.0.1:1")
    assert told.returncode == 1
    assert "The engine at sc://127.0.0.1:1 (TRACT_SPARK) is not there: [Errno 111] Connection refused." in told.stdout
    assert "Not published: features.housing_features, because its model failed: The engine at" in told.stdout
    assert "Traceback" not in told.stdout
    assert len(publications_of(home)) == 1
