"""One lake, four builds: a source without its columns, a broken model, a retry, and one with a row that cannot be."""

import re
from pathlib import Path

import pandas as pd
import pytest

from dbt_project.housing import source as california_housing
from ml import lake
from tests.conftest import run_dbt
from tests.dbt.conftest import (
    NOT_PUBLISHED,
    Home,
    Told,
    about_publishing,
    copied,
    lake_of,
    publications_of,
    replace_in,
    said,
)

pytestmark = pytest.mark.xdist_group("dbt failed")

RETRIED = NOT_PUBLISHED + "`dbt retry` does not build and test the whole table; `dbt build` does."


@pytest.fixture(scope="module")
def home(empty_lake: Home) -> Path:
    return empty_lake("failed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source")


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return california_housing.fetch(folder)


@pytest.fixture(scope="module")
def without_columns(home: Path, frame: pd.DataFrame) -> Told:
    with lake_of(home) as con:
        source = f"{lake.root(con)}/without_columns.parquet"
        few = frame[["MedInc", "Latitude"]]  # noqa: F841 (DuckDB reads it)
        con.execute(f"copy few to '{source}'")
    return run_dbt(home, "build", HOUSING_SOURCE=source)


@pytest.fixture(scope="module")
def broken(home: Path, without_columns: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    project = copied(tmp_path_factory.mktemp("broken"))
    staged = project / "dbt_project/housing/models/staging/stg_housing.sql"
    replace_in(staged, "select * from final", "select *, nothing from final")
    return run_dbt(home, "build", project=project)


@pytest.fixture(scope="module")
def retried(home: Path, broken: Told) -> Told:
    return run_dbt(home, "retry")


@pytest.fixture(scope="module")
def out_of_range(home: Path, folder: Path, frame: pd.DataFrame, retried: Told) -> Told:
    frame = frame.copy()
    frame.loc[7, "Latitude"] = 51.5
    frame.to_csv(folder / "one_in_london.csv", index=False)
    return run_dbt(home, "build", HOUSING_SOURCE=str(folder / "one_in_london.csv"))


@pytest.fixture(scope="module")
def retried_again(home: Path, out_of_range: Told) -> Told:
    return run_dbt(home, "retry")


def test_a_source_without_its_columns_is_one_sentence_before_anything_is_built(without_columns: Told) -> None:
    assert (without_columns.returncode, about_publishing(without_columns)) == (2, [])
    assert " START " not in without_columns.stdout.replace("START hook", "")
    *_, error, sentence = [line for line in said(without_columns) if line]
    assert error == "Encountered an error:"
    assert re.fullmatch(
        r"HOUSING_SOURCE: s3://\S+/without_columns\.parquet has no column HouseAge, AveRooms, AveBedrms, Population, "
        r"AveOccup, Longitude, MedHouseVal\. It must have the nine columns of scikit-learn's loader: .*, MedHouseVal\.",
        sentence,
    )


def test_features_that_were_skipped_are_not_published(broken: Told) -> None:
    assert broken.returncode == 1
    assert about_publishing(broken) == [
        NOT_PUBLISHED + "it was skipped, because something that it is built from failed."
    ]


def test_a_retry_builds_and_does_not_publish(retried: Told) -> None:
    assert (retried.returncode, about_publishing(retried)) == (0, [RETRIED])


def test_a_failed_test_is_named_in_the_last_lines_with_what_it_found(out_of_range: Told) -> None:
    name = "tract_between_housing_features_latitude__43__32"
    assert out_of_range.returncode == 1
    assert about_publishing(out_of_range) == [
        NOT_PUBLISHED + f"its test {name} failed: Got 1 result, configured to fail if != 0."
    ]
    last = [line for line in said(out_of_range) if line][-5:]
    assert last[1] == f"Failure in test {name} (dbt_project/housing/models/features/housing_features.yml)"
    assert last[2] == "Got 1 result, configured to fail if != 0"


def test_a_retry_of_the_test_alone_says_that_it_does_not_publish(retried_again: Told) -> None:
    assert (retried_again.returncode, about_publishing(retried_again)) == (1, [RETRIED])


def test_the_ledger_stays_empty(home: Path, retried_again: Told) -> None:
    assert publications_of(home) == []


def test_a_table_of_predictions_for_something_else_is_refused_before_any_node(empty_lake: Home) -> None:
    home = empty_lake("taken")
    assert run_dbt(home, "build", "--select", "stg_housing").returncode != 0  # nothing is landed, and tables are made
    with lake_of(home) as con:
        con.execute("drop view lake.ml.current_predictions")
        con.execute("drop table lake.ml.predictions")
        con.execute("create table lake.ml.predictions (exposure varchar, plot bigint, prediction boolean)")
    told = run_dbt(home, "build", "--select", "stg_housing")
    assert told.returncode == 2
    assert "OK created" not in told.stdout
    sentence = " ".join(said(told))
    assert (
        "Exposure housing_value: ml.predictions has predictions of type BOOLEAN beside plot, and what it asks for now "
        "is regression of DOUBLE by block_group_id. Name another table in meta.ml.predictions, and build once more."
    ) in sentence
    assert "Traceback" not in sentence


def test_a_model_for_spark_is_not_built_by_duckdb_unsaid(
    empty_lake: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = copied(tmp_path_factory.mktemp("undispatched"))
    replace_in(project / "dbt_project.yml", "search_order: [housing, tract, dbt]", "search_order: [housing, dbt]")
    told = run_dbt(
        empty_lake("undispatched"), "build", "--select", "housing_scaling", project=project, TRACT_SPARK="sc://nowhere"
    )
    assert told.returncode == 2
    assert (
        "dbt_project/housing/models/features/housing_scaling.sql says engine: spark, and dbt does not look for "
        "`create_table_as` in the package tract. Add to dbt_project.yml: dispatch: [{macro_namespace: dbt, "
        "search_order: [housing, tract, dbt]}]."
    ) in " ".join(said(told))
