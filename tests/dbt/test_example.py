"""The example can be taken out or copied: nothing but dbt_project.yml has to follow."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import run_dbt
from tests.dbt.conftest import replace_in


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
    del said["models"]["housing"], said["vars"]
    (project / "dbt_project.yml").write_text(yaml.safe_dump(said))
    manifest = parse(project)
    assert (models(manifest, "tract"), models(manifest, "housing")) == (MARTS, set())
    assert manifest["exposures"] == {}
