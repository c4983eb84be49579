"""The commands that build nothing, beside a process that holds the build lock: they do not wait for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.lake import locks
from tests.conftest import run_dbt
from tests.dbt.conftest import Home, Told, said

pytestmark = pytest.mark.xdist_group("dbt built")
Built = tuple[Path, str]


@pytest.fixture(scope="module")
def locked(built: Built) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(built[0]))
        with locks.lock("build"):
            yield built[0]


def run(home: Path, folder: Path, *arguments: str) -> Told:
    told = run_dbt(home, *arguments, DBT_TARGET_PATH=str(folder))
    assert told.returncode == 0, told.stdout
    assert "warning" not in told.stdout.lower().replace("and 0 warnings", "")
    assert "Waiting for the lock" not in told.stdout
    return told


@pytest.fixture
def target(parsed: Path, tmp_path: Path) -> Path:
    (tmp_path / parsed.name).write_bytes(parsed.read_bytes())
    return tmp_path


def test_dbt_test_passes_and_says_nothing_of_publishing(locked: Path, target: Path) -> None:
    told = run(locked, target, "test")
    assert "Completed successfully" in said(told)
    assert "ublished" not in told.stdout


def test_predictions_that_are_awaited_since_a_moment_are_fresh(locked: Path, target: Path) -> None:
    told = run(locked, target, "source", "freshness")
    assert "PASS freshness of ml.predictions" in told.stdout


def test_an_empty_lake_is_fresh(empty_lake: Home) -> None:
    told = run_dbt(empty_lake("fresh"), "source", "freshness", TZ="")  # as containers have it
    assert told.returncode == 0, told.stdout
    assert "PASS freshness of ml.predictions" in told.stdout


def test_everything_compiles(locked: Path, target: Path) -> None:
    run(locked, target, "compile")
    compiled = target / "compiled/housing/dbt_project/housing/models/features/housing_scaling.sql"
    assert "stddev_pop(rooms_per_household)" in compiled.read_text()
