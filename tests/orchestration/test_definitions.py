"""The asset graph, jobs and sensors, written out: none of it changes unseen."""

import copy
import logging
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ml.manifest import SpecError, read_exposures
from orchestration import project
from orchestration.assets.model import selection
from orchestration.assets.translator import Translator, predictions_key
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("definitions")

DBT, LEARNED = {"dbt", "duckdb"}, {"python", "sklearn", "s3"}

# asset: (what it is made from, its team, its kinds, the checks on it that are not tests of dbt)
ASSETS: dict[str, tuple[list[str], str, set[str], list[str]]] = {
    "landing/california_housing": ([], "producer", DBT, []),
    "staging/stg_housing": (["landing/california_housing"], "producer", DBT, []),
    "features/housing_features": (
        ["staging/stg_housing"],
        "producer",
        DBT,
        ["definitions_are_current", "housing_value_consumes_it", "housing_value_published_in_time"],
    ),
    "features/housing_scaling": (["features/housing_features"], "producer", DBT, []),
    "features/housing_scaled": (
        ["features/housing_features", "features/housing_scaling"],
        "producer",
        DBT,
        [],
    ),
    "housing_value/model": (
        ["features/housing_features"],
        "consumer",
        LEARNED,
        ["artifact_unchanged", "better_than_mean", "no_likely_leak"],
    ),
    "housing_value/predictions": (
        ["features/housing_features", "housing_value/model"],
        "consumer",
        {"duckdb", "table"},
        ["every_row_predicted"],
    ),
    "housing_value/monitoring": (["housing_value/model"], "consumer", {"python", "table"}, []),
    "housing_value/model_card": (["housing_value/model"], "consumer", {"python", "html", "s3"}, []),
    "marts/housing_valuations": (["features/housing_features", "housing_value/predictions"], "consumer", DBT, []),
    "marts/model_monitoring": (["housing_value/predictions"], "consumer", DBT, []),
    "marts/model_performance": (["housing_value/predictions"], "consumer", DBT, []),
    "marts/model_live_errors": (["housing_value/predictions", "marts/model_performance"], "consumer", DBT, []),
    "exports/california_housing": (["landing/california_housing"], "consumer", DBT, []),
    "exports/housing_valuations": (["marts/housing_valuations"], "consumer", DBT, []),
}

# job: the assets that it makes
JOBS = {
    "build_features": [
        "exports/california_housing",
        "features/housing_features",
        "features/housing_scaled",
        "features/housing_scaling",
        "landing/california_housing",
        "staging/stg_housing",
    ],
    "learn": [
        "exports/housing_valuations",
        "housing_value/model",
        "housing_value/model_card",
        "housing_value/monitoring",
        "housing_value/predictions",
        "marts/housing_valuations",
        "marts/model_live_errors",
        "marts/model_monitoring",
        "marts/model_performance",
    ],
    "maintain_lake": [],
    "promote": [],
    "replay": [],
}

# sensor: (seconds between looks, the jobs that it starts)
SENSORS = {
    "follow_publications": (2, ["learn"]),
    "expect_publications": (60, []),
    "expect_consumptions": (60, []),
    "follow_project": (20, []),
    "send_notices": (10, []),
}

# schedule: (when, the job that it starts)
SCHEDULES = {"maintain_lake_schedule": ("0 3 * * *", "maintain_lake")}


@pytest.fixture(scope="module")
def repository(manifest: Mapping[str, Any]) -> dg.RepositoryDefinition:
    from orchestration.definitions import definitions

    return definitions.get_repository_def()


@pytest.fixture(scope="module")
def manifest(dagster_target: Path) -> Mapping[str, Any]:
    if not project.TARGET.exists():
        shutil.copytree(dagster_target, project.TARGET)
    return project.manifest()


def test_the_assets_are_these(repository: dg.RepositoryDefinition, manifest: Mapping[str, Any]) -> None:
    graph = repository.asset_graph
    tests = {node["name"] for node in manifest["nodes"].values() if node["resource_type"] == "test"}
    found = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        found[key.to_user_string()] = (
            sorted(parent.to_user_string() for parent in node.parent_keys),
            node.group_name,
            set(node.kinds),
            sorted(check.name for check in node.check_keys if check.name not in tests),
        )
    assert found == ASSETS


def test_every_asset_is_its_teams(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    owners = {key.to_user_string(): graph.get(key).owners for key in graph.get_all_asset_keys()}
    assert owners == {name: [f"{team}@example.com"] for name, (_, team, _, _) in ASSETS.items()}


def test_every_test_of_a_learned_from_table_is_a_check_on_it(
    repository: dg.RepositoryDefinition, manifest: Mapping[str, Any]
) -> None:
    tests = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node.get("attached_node") == "model.housing.housing_features"
    }
    checks = repository.asset_graph.get(dg.AssetKey(["features", "housing_features"])).check_keys
    assert tests
    assert tests <= {check.name for check in checks}


def test_the_jobs_make_these(repository: dg.RepositoryDefinition) -> None:
    found = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    assert found == JOBS


def test_every_launchpad_opens_with_settings_that_may_be_launched(repository: dg.RepositoryDefinition) -> None:
    settings = {
        job.name: dg.validate_run_config(job, {})["ops"]
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    assert set(settings) == set(JOBS)
    promotion = settings["promote"]["change_champion"]["config"]
    assert promotion == {"exposure": "", "version_id": "", "reason": ""}
    assert settings["replay"]["repeat"]["config"] == {"exposure": "", "publication_id": ""}
    assert settings["maintain_lake"]["maintain"]["config"] == {"keep_days": 30.0, "grace_hours": 24.0}


def test_mlflow_is_in_the_graph_where_it_is_on(manifest: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert manifest
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    loaded = runpy.run_path(str(ROOT / "orchestration" / "definitions.py"))["definitions"].get_repository_def()
    node = loaded.asset_graph.get(dg.AssetKey(["housing_value", "mlflow"]))
    assert (node.parent_keys, node.group_name, set(node.kinds)) == (
        {dg.AssetKey(["housing_value", "model_card"])},
        "consumer",
        {"python", "mlflow"},
    )
    job = loaded.get_job("learn")
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == {*JOBS["learn"], "housing_value/mlflow"}


def test_the_sensors_and_schedules_start_these_by_themselves(repository: dg.RepositoryDefinition) -> None:
    sensors = repository.sensor_defs
    assert {s.name: (s.minimum_interval_seconds, [t.job_name for t in s.targets]) for s in sensors} == SENSORS
    schedules = repository.schedule_defs
    assert {s.name: (s.cron_schedule, s.job_name) for s in schedules} == SCHEDULES
    assert {s.default_status for s in sensors} == {dg.DefaultSensorStatus.RUNNING}
    assert {s.default_status for s in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_with_two_exposures_both_predictions_feed_what_reads_them(manifest: Mapping[str, Any]) -> None:
    (one,) = read_exposures(manifest)
    other = replace(one, name="other_value")
    mart = Translator([one, other]).get_asset_spec(manifest, "model.housing.housing_valuations", None)
    assert {dep.asset_key for dep in mart.deps} == {
        dg.AssetKey(["features", "housing_features"]),
        predictions_key(one),
        predictions_key(other),
    }
    features = Translator([one, other]).get_asset_spec(manifest, "model.housing.housing_features", None)
    assert {dep.asset_key for dep in features.deps} == {dg.AssetKey(["staging", "stg_housing"])}


def test_a_table_of_predictions_belongs_to_the_exposure_that_writes_it(manifest: Mapping[str, Any]) -> None:
    (one,) = read_exposures(manifest)
    other = replace(one, name="other", spec=one.spec.model_copy(update={"predictions": "other_predictions"}))
    tables = {"predictions": one, "other_predictions": other, "heldout_other_predictions": other, "model_metrics": one}
    for table, writer in tables.items():
        source = {"resource_type": "source", "source_name": "ml", "identifier": table}
        assert Translator([one, other]).get_asset_key(source) == predictions_key(writer)


def test_the_coverage_of_intervals_is_a_check(repository: dg.RepositoryDefinition) -> None:
    checks = repository.asset_graph.get(dg.AssetKey(["marts", "model_performance"])).check_keys
    assert "intervals_cover_as_asked" in {check.name for check in checks}


def test_the_table_of_predictions_is_described_as_dbt_does(repository: dg.RepositoryDefinition) -> None:
    said = repository.asset_graph.get(dg.AssetKey(["housing_value", "predictions"])).metadata
    assert said["dagster/table_name"] == "lake.ml.predictions"
    told = {column.name: (column.type, column.description) for column in said["dagster/column_schema"].columns}
    assert told["prediction"] == ("double", "Prediction, in the target's unit.")
    assert {"block_group_id", "lower", "upper", "version_id", "publication_id"} < set(told)


def test_with_two_exposures_a_run_makes_what_is_its_own_and_a_search_each_is_scheduled(
    manifest: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = copy.deepcopy(dict(manifest))
    one = both["exposures"]["exposure.housing.housing_value"]
    for meta in (one.get("meta", {}), one["config"]["meta"]):
        if "ml" in meta:
            meta["ml"]["candidates"] = ["ridge", {"name": "gradient_boosting", "search": {"space": {"max_iter": [9]}}}]
    other = copy.deepcopy(one) | {"name": "other_value"}
    for meta in (other.get("meta", {}), other["config"]["meta"]):
        if "ml" in meta:
            meta["ml"]["predictions"] = "other_predictions"
    both["exposures"]["exposure.housing.other_value"] = other
    monkeypatch.setattr(project, "manifest", lambda: both)
    found = runpy.run_path(str(ROOT / "orchestration" / "definitions.py"))
    exposures, repository = found["exposures"], found["definitions"].get_repository_def()
    assert [exposure.name for exposure in exposures] == ["housing_value", "other_value"]
    made = [
        {key.to_user_string() for key in selection([exposure]).resolve(repository.asset_graph)}
        for exposure in exposures
    ]
    marts = {name for name in JOBS["learn"] if not name.startswith("housing_value/")}
    assert made == [
        {*marts, *(f"{exposure.name}/{thing}" for thing in ("model", "predictions", "monitoring", "model_card"))}
        for exposure in exposures
    ]
    assert {key.to_user_string() for key in repository.get_job("learn").asset_layer.executable_asset_keys} == (
        made[0] | made[1]
    )
    (schedule,) = [schedule for schedule in repository.schedule_defs if schedule.name == "nightly_search"]
    requests = schedule.evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 26, 4))
    ).run_requests
    assert requests is not None
    assert [request.run_config["ops"]["look_for_recipes"]["config"] for request in requests] == [
        {"exposure": "housing_value"},
        {"exposure": "other_value"},
    ]
    assert [request.run_key for request in requests] == ["housing_value 2026-11-26", "other_value 2026-11-26"]
    assert dg.validate_run_config(repository.get_job("search"), requests[0].run_config)


def test_a_spec_that_does_not_fit_is_said_at_loading(
    manifest: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = copy.deepcopy(dict(manifest))
    exposure = wrong["exposures"]["exposure.housing.housing_value"]
    for meta in (exposure.get("meta", {}), exposure["config"]["meta"]):
        if "ml" in meta:
            meta["ml"]["targt"] = meta["ml"].pop("target")
    monkeypatch.setattr(project, "manifest", lambda: wrong)
    with pytest.raises(SpecError) as error:
        runpy.run_path(str(ROOT / "orchestration" / "definitions.py"))
    missing, unknown = str(error.value).splitlines()
    where = "Exposure housing_value (dbt_project/housing/models/exposures.yml)"
    assert missing == f"{where}: meta.ml.target is missing (column to be predicted)."
    assert unknown.startswith(f"{where}: meta.ml.targt is not known. Allowed: key, target, task, ")


def test_a_candidate_that_is_not_to_be_found_is_warned_of_at_loading(
    manifest: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    doubtful = copy.deepcopy(dict(manifest))
    exposure = doubtful["exposures"]["exposure.housing.housing_value"]
    for meta in (exposure.get("meta", {}), exposure["config"]["meta"]):
        if "ml" in meta:
            meta["ml"]["candidates"] = ["ridge", {"name": "trees", "estimator": "nowhere.Trees"}]
    monkeypatch.setattr(project, "manifest", lambda: doubtful)
    monkeypatch.setattr(logging.getLogger("dagster"), "propagate", True)
    runpy.run_path(str(ROOT / "orchestration" / "definitions.py"))
    (warned,) = [record.getMessage() for record in caplog.records if record.name == "dagster.tract"]
    assert warned.startswith("Exposure housing_value: candidate trees cannot compete, as nowhere.Trees is not to be ")


@pytest.mark.slow
def test_dagster_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    told = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-m", "orchestration.definitions"],
        cwd=tmp_path,  # nothing depends on the current directory
        env={**os.environ, "PATH": "/usr/bin:/bin", "DAGSTER_HOME": ""},  # nor on an activated environment
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    said = (told.stdout + told.stderr).splitlines()
    ours = [line for line in said if "Warning" in line and ("orchestration/" in line or "/ml/" in line)]
    assert ours == []
