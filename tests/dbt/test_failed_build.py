"""One lake, three builds: the source is not there, a retry with it, and a source with a row that cannot be."""

from pathlib import Path

import pytest

from dbt_project.housing import source as california_housing
from ml import lake
from tests.conftest import run_dbt
from tests.dbt.conftest import NOT_PUBLISHED, Home, Told, about_publishing, lake_of, publications_of, said

pytestmark = pytest.mark.xdist_group("dbt failed")

RETRIED = NOT_PUBLISHED + "`dbt retry` does not build and test the whole table; `dbt build` does."


@pytest.fixture(scope="module")
def home(empty_lake: Home) -> Path:
    return empty_lake("failed")


@pytest.fixture(scope="module")
def without_source(home: Path) -> Told:
    with lake_of(home) as con:
        return run_dbt(home, "build", HOUSING_SOURCE=f"{lake.root(con)}/nowhere.parquet")


@pytest.fixture(scope="module")
def retried(home: Path, without_source: Told) -> Told:
    return run_dbt(home, "retry")


@pytest.fixture(scope="module")
def out_of_range(home: Path, retried: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("source")
    frame = california_housing.fetch(folder)
    frame.loc[7, "Latitude"] = 51.5
    frame.to_csv(folder / "one_in_london.csv", index=False)
    return run_dbt(home, "build", HOUSING_SOURCE=str(folder / "one_in_london.csv"))


@pytest.fixture(scope="module")
def retried_again(home: Path, out_of_range: Told) -> Told:
    return run_dbt(home, "retry")


def test_features_that_were_skipped_are_not_published(without_source: Told) -> None:
    assert without_source.returncode == 1
    assert about_publishing(without_source) == [
        NOT_PUBLISHED + "it was skipped, because something that it is built from failed."
    ]


def test_a_source_that_is_not_there_is_named_without_a_traceback(without_source: Told) -> None:
    sentence = next(line for line in said(without_source) if line.startswith("HOUSING_SOURCE: "))
    assert "/nowhere.parquet cannot be read: " in sentence
    assert "Traceback" not in without_source.stdout + without_source.stderr


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
