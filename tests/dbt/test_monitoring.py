"""What the producer's later builds bring is held against what the champion learned from, and shows as dbt's tests."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dbt_project.housing import source as california_housing
from ml import consumption
from ml.manifest import read_exposures
from tests.conftest import run_dbt
from tests.dbt.conftest import Home, Told, build, lake_of, said
from tests.ml.completed import consume_and_complete

MONITORED = ("build", "--select", "model_monitoring", "model_performance", "model_live_errors")


def publish_and_consume(home: Path, rows: pd.DataFrame, source: Path) -> consumption.Consumption:
    rows.to_parquet(source, index=False)
    told = build(home, "--select", "+housing_features", HOUSING_SOURCE=str(source)).told
    assert told.returncode == 0, told.stdout
    (exposure,) = read_exposures(json.loads((home / "target" / "manifest.json").read_text()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        made = consume_and_complete(exposure, say=lambda sentence: None)
    assert made is not None
    return made


def verdicts(told: Told) -> list[str]:
    return sorted(line.split(" (")[0] for line in said(told) if line.startswith(("Failure in", "Warning in")))


def test_drift_is_quiet_on_a_resample_and_fires_on_another_region(empty_lake: Home, tmp_path: Path) -> None:
    home, rows = empty_lake("monitored"), california_housing.fetch()
    publish_and_consume(home, rows.sample(frac=0.6, random_state=0), tmp_path / "first.parquet")
    told = run_dbt(home, *MONITORED)
    assert told.returncode == 0, told.stdout  # nothing to compare yet; the intervals cover as asked

    publish_and_consume(home, rows.sample(frac=0.6, random_state=1), tmp_path / "resampled.parquet")
    told = run_dbt(home, *MONITORED)
    assert told.returncode == 0, told.stdout
    assert verdicts(told) == []

    with lake_of(home) as con:
        assert con.execute("select count(*) from lake.marts.model_live_errors").fetchall() == [(0,)]
        serving = con.execute("select max_by(version_id, promotion) from lake.ml.promotions").fetchall()[0][0]

    north = rows[rows["Latitude"] > 34.0]
    # half as dear as they were: the version in service had learned other values of those that it predicted
    publish_and_consume(home, north.assign(MedHouseVal=north["MedHouseVal"] / 2), tmp_path / "north.parquet")
    told = run_dbt(home, *MONITORED)
    assert told.returncode == 1
    assert verdicts(told) == [
        "Failure in test no_column_has_drifted_far",
        "Failure in test no_distribution_has_moved_far",
        "Warning in test no_column_has_drifted",
        "Warning in test no_distribution_has_moved",
    ]
    with lake_of(home) as con:
        far = con.execute(
            "select column_name from lake.marts.model_monitoring where is_newest and psi > 0.25 order by psi desc"
        ).fetchall()
        counted = con.execute(
            "select count(*), count(distinct publication_id), count(*) filter (where is_newest) "
            "from lake.marts.model_monitoring"
        ).fetchall()
        (live,) = con.execute(
            "select version_id, row_count, rmse, heldout_rmse, coverage, heldout_coverage "
            "from lake.marts.model_live_errors"
        ).fetchall()
        promised = con.execute(
            "select metric, value from lake.ml.model_metrics join lake.ml.model_versions using (version_id, candidate) "
            "where version_id = ? and split = 'random' and slice = 'all' and metric in ('coverage', 'rmse') order by 1",
            [serving],
        ).fetchall()
        performed = con.execute(
            "select coverage, rmse, asked_coverage, is_decisive from lake.marts.model_performance "
            "where version_id = ? and split = 'random' and slice = 'all'",
            [serving],
        ).fetchall()
        champions = con.execute(
            "select distinct version_id from lake.marts.model_performance where is_champion"
        ).fetchall()
        newest = con.execute("select max_by(version_id, promotion) from lake.ml.promotions").fetchall()
    assert far == [("latitude",), ("longitude",)]
    attributes = list(rows.columns[:-1])
    both = north[attributes].merge(rows.sample(frac=0.6, random_state=1)[attributes])
    assert live[:2] == (serving, len(both))
    assert live[2] > 1.2 * live[3]
    assert live[4] < live[5] - 0.1
    assert promised == [("coverage", live[5]), ("rmse", live[3])]
    assert performed == [(live[5], live[3], 0.9, True)]
    assert champions == newest
    assert counted == [(24, 2, 12)]  # eleven features and the prediction, of two publications
