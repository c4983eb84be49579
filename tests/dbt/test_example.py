"""The example can be taken out or copied: nothing but dbt_project.yml has to follow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dbt_project.tract import ahead
from tests.conftest import ROOT, run_dbt
from tests.dbt.conftest import replace_in

pytestmark = pytest.mark.slow


def parse(project: Path) -> dict[str, Any]:
    told = run_dbt(project / "home", "--warn-error", "parse", "--target", "lint", project=project)
    assert told.returncode == 0, told.stdout
    found: dict[str, Any] = json.loads((project / "home" / "target" / "manifest.json").read_text())
    return found


def models(manifest: dict[str, Any], package: str) -> set[str]:
    nodes = manifest["nodes"].values()
    return {node["name"] for node in nodes if (node["resource_type"], node["package_name"]) == ("model", package)}


MARTS = {"model_performance", "model_monitoring", "model_live_errors"}


def test_the_examples_folder_can_have_another_name(project: Path) -> None:
    (project / "dbt_project" / "housing").rename(project / "dbt_project" / "homes")
    replace_in(project / "dbt_project.yml", "dbt_project/housing", "dbt_project/homes")
    replace_in(project / "dbt_project.yml", "dbt_project.housing", "dbt_project.homes")
    manifest = parse(project)
    assert models(manifest, "tract") == MARTS
    assert {"california_housing", "housing_features", "housing_valuations"} < models(manifest, "housing")
    assert set(manifest["exposures"]) == {
        "exposure.housing.housing_value",
        "exposure.housing.housing_value_new_region",  # the target lint has everything
    }
    landed = manifest["nodes"]["model.housing.california_housing"]
    assert landed["config"]["meta"]["source"] == "dbt_project.homes.source"
    assert landed["original_file_path"] == "dbt_project/homes/models/landing/california_housing.py"


def test_without_the_example_the_package_is_what_is_left(project: Path) -> None:
    shutil.rmtree(project / "dbt_project" / "housing")
    said = yaml.safe_load((project / "dbt_project.yml").read_text())
    del said["models"], said["vars"]
    (project / "dbt_project.yml").write_text(yaml.safe_dump(said))
    manifest = parse(project)
    assert (models(manifest, "tract"), models(manifest, "housing")) == (MARTS, set())
    assert manifest["exposures"] == {}


def without_a_home() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "TRACT_HOME"}


def test_the_lake_is_that_of_the_project_that_dbt_is_told_of(project: Path) -> None:
    told = subprocess.run(
        [
            str(Path(sys.executable).with_name("dbt")),
            "test",
            "--project-dir",
            str(project),
            "--profiles-dir",
            str(ROOT),
        ],
        cwd=ROOT,
        env=without_a_home() | {"DBT_TARGET_PATH": str(project / "target"), "DBT_LOG_PATH": str(project / "logs")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode != 0
    assert f"{project}/.lake/" in told.stdout
    assert "Start it with `tract up`." in told.stdout
    assert f"{ROOT}/.lake" not in told.stdout


def test_dagster_and_every_command_mean_the_project_of_the_setting(project: Path) -> None:
    shutil.rmtree(project / "dbt_packages")  # installed where it is missing
    script = (
        "from orchestration import project\n"
        "print(project.ROOT, project.TARGET, *[exposure.name for exposure in project.exposures()])\n"
        "from orchestration.definitions import definitions\n"
        "dbt = definitions.resources['dbt']\n"
        "print(dbt.project_dir, dbt.profiles_dir)\n"
        "print(len(list(definitions.get_repository_def().asset_graph.get_all_asset_keys())))\n"
    )
    replace_in(project / "dbt_project/housing/models/exposures.yml", "- name: housing_value\n", "- name: other_value\n")
    replace_in(project / "dbt_project/housing/models/marts/housing_valuations.sql", "'housing_value'", "'other_value'")
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=without_a_home() | {"DBT_PROJECT_DIR": str(project)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.splitlines() == [f"{project} {project}/.lake/dbt other_value", f"{project} {project}", "15"]
    assert (project / "dbt_packages" / "tract").resolve() == project / "dbt_project" / "tract"


def test_a_directory_without_a_project_is_named(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "orchestration.commands", "docs"],
        cwd=ROOT,
        env=without_a_home() | {"DBT_PROJECT_DIR": str(tmp_path / "nothing")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith(f"{tmp_path}/nothing has no dbt_project.yml. DBT_PROJECT_DIR must name ")
    assert not (tmp_path / "nothing").exists()


def test_predictions_of_an_exposure_that_is_not_there_are_refused(project: Path) -> None:
    mart = project / "dbt_project/housing/models/marts/housing_valuations.sql"
    replace_in(mart, "tract.predictions('housing_value')", "tract.predictions('house_value')")
    sentence = (
        "housing_valuations asks for the predictions of 'house_value', which is no exposure of type ml. "
        "There are: housing_value, housing_value_new_region."
    )
    assert sentence in compiled(project)


def test_predictions_in_another_table_are_refused_with_the_right_one(project: Path) -> None:
    mart = project / "dbt_project/housing/models/marts/housing_valuations.sql"
    replace_in(mart, "tract.predictions('housing_value')", "tract.predictions('housing_value_new_region')")
    sentence = (
        "housing_valuations asks for the predictions of housing_value_new_region in ml.predictions, but they are in "
        "ml.new_region_predictions. Say tract.predictions('housing_value_new_region', 'new_region_predictions')."
    )
    assert sentence in compiled(project)


def compiled(project: Path) -> str:
    """What dbt says when it compiles the mart."""
    arguments = ("compile", "--target", "lint", "--select", "housing_valuations")
    told = run_dbt(project / "home", *arguments, project=project)
    assert told.returncode != 0
    return " ".join(told.stdout.split())


def test_a_check_that_cannot_be_imported_is_said() -> None:
    said = ahead.wrong("dbt_project.housing.source.chek")
    assert said == (
        "meta.check: dbt_project.housing.source.chek cannot be imported: module 'dbt_project.housing.source' has no "
        "attribute 'chek'. It must be package.module.function, of a package that is installed here or lies in the "
        "project."
    )
    for nowhere in ("nowhere.check", "check", ""):
        assert str(ahead.wrong(nowhere)).startswith(f"meta.check: {nowhere} cannot be imported: ")
