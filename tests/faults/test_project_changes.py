"""A dbt project that is changed while Dagster is up is loaded anew; one that cannot be leaves what is there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ml.manifest import SpecError
from orchestration import loaded, project
from orchestration.stack import dagster
from tests.conftest import ROOT
from tests.warehouse import FEATURES, Warehouse, running, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults of projects")]

PEOPLE = """
exposures:
  - name: people
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: [ref('housing_features')]
    config: {meta: {ml: {key: block_group_id, target: population, group: spatial_block, candidates: [ridge]}}}
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the dbt project, which is meant."""
    root = tmp_path_factory.mktemp("project") / "d'été 家"
    shutil.copytree(ROOT / "dbt_project", root / "dbt_project")
    for name in ("dbt_project.yml", "profiles.yml", "packages.yml", "package-lock.yml"):
        shutil.copy(ROOT / name, root)
    (root / "dbt_packages").mkdir()
    (root / "dbt_packages" / "tract").symlink_to(root / "dbt_project" / "tract")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "ROOT", root)
        patch.setenv("DBT_PROJECT_DIR", str(root))
        yield root


@pytest.fixture(scope="module")
def warehouse(
    copy: Path, servers: Path, parsed: Path, dagster_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    """A warehouse of the copy, with a champion."""
    with running(servers, parsed, dagster_target, tmp_path_factory.mktemp("faults")) as made:
        first = made.build(seed=1)
        made.consumption(first)
        made.settled(first)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(project, "TARGET", made.home / "dbt")
            yield made


def write(copy: Path, text: str) -> None:
    """Bring a file as rsync does, with the time that it had elsewhere."""
    file = copy / "dbt_project" / "housing" / "models" / "people.yml"
    file.write_text(text)
    os.utime(file, (1, 1))


def test_an_exposure_that_comes_is_learned_without_a_build_or_a_hand(copy: Path, warehouse: Warehouse) -> None:
    (snapshot,) = warehouse.one("select max(snapshot_id) from lake.ops.publications")
    write(copy, PEOPLE)
    assert dagster.status(warehouse.home).state == "behind"
    until(lambda: warehouse.count("ops.consumptions", "exposure = 'people'"), "nobody learns it")
    assert warehouse.rows("select publication_id, outcome from lake.ops.consumptions where exposure = 'people'") == [
        (f"{FEATURES}@{snapshot}", "trained")
    ]
    assert dagster.status(warehouse.home).state == "up"
    until(lambda: checked(warehouse) == (True, loaded.CURRENT.sentence), "the check does not pass")


def test_what_cannot_be_loaded_is_said_and_leaves_the_definitions_that_are_there(
    copy: Path, warehouse: Warehouse
) -> None:
    write(copy, PEOPLE.replace("population", "poulation"))
    until(lambda: checked(warehouse)[0] is False, "the check does not fail")
    _, found = checked(warehouse)
    assert found.startswith(f"{loaded.CHANGED}, and cannot be loaded as it is: Exposure people (")
    assert "meta.ml.target is 'poulation', which is no column." in found
    with pytest.raises(SpecError, match=r"meta\.ml\.target is 'poulation'"):
        warehouse.start()
    assert dagster.status(warehouse.home).state == "behind"
    write(copy, PEOPLE)
    warehouse.start()
    assert dagster.status(warehouse.home).state == "up"
    publication = warehouse.publish(seed=2)
    assert warehouse.consumption(publication)["outcome"] in ("trained", "refreshed")


def checked(warehouse: Warehouse) -> tuple[bool | None, str]:
    """The newest finding of the check on what is learned from."""
    key = dg.AssetCheckKey(dg.AssetKey(FEATURES.split(".")), loaded.CHECK)
    records = warehouse.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    event = records[0].event.dagster_event if records and records[0].event else None
    if event is None:
        return None, ""
    evaluation = event.asset_check_evaluation_data
    return evaluation.passed, evaluation.description or ""
