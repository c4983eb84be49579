"""What `make run` shows of an exposure, whichever it is: the unit, the key and the target are its own."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ml.exposures import Exposure
from ml.manifest import read_exposures
from orchestration.commands import run
from tests.dbt.conftest import Worked, lake_of

pytestmark = pytest.mark.xdist_group("dbt worked")


@pytest.fixture
def exposure(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> Exposure:
    monkeypatch.setenv("TRACT_HOME", str(worked.home))
    (found,) = read_exposures(json.loads((worked.home / "target" / "manifest.json").read_text()))
    return found


def shown(exposure: Exposure, publication: str, outcome: str) -> list[str]:
    told = StringIO()
    run.show(Console(file=told, width=160), exposure, publication, outcome)
    return told.getvalue().splitlines()


def test_the_champion_its_metrics_and_its_predictions_are_shown(worked: Worked, exposure: Exposure) -> None:
    publication = worked.consumed.publication.publication_id
    _, champion, header, *lines = shown(exposure, publication, "trained")
    version = worked.consumed.champion_id
    assert champion == f"housing_value: champion {version} (ridge), held-out errors in 1990 dollars:"
    assert header.split() == ["split", "candidate", "rmse", "mae", "median", "error", "p90", "error", "r2"]
    assert [line.split()[:2] for line in lines[:4]] == [
        ["random", "ridge"],
        ["random", "mean"],
        ["group", "ridge"],
        ["group", "mean"],
    ]
    assert lines[4] == "Five predictions of lake.ml.predictions, beside features.housing_features:"
    assert lines[5].split() == ["block_group_id", "median_house_value", "prediction", "lower", "upper"]
    with lake_of(worked.home) as con:
        con.execute(
            """
            select block_group_id, median_house_value, predicted_value, predicted_value_lower, predicted_value_upper
            from lake.marts.housing_valuations
            where version_id is not null
            order by block_group_id
            limit 5
            """
        )
        expected = [[key, *(f"{value:,.0f}" for value in values)] for key, *values in con.fetchall()]
    assert len(expected) == 5
    assert [line.split() for line in lines[6:11]] == expected


def test_what_was_not_learned_is_said_and_a_target_without_a_unit_has_none(worked: Worked, exposure: Exposure) -> None:
    plain = replace(exposure, spec=exposure.spec.model_copy(update={"unit": ""}))
    _, first, _, champion, *_ = shown(plain, worked.consumed.publication.publication_id, "unchanged")
    assert first.startswith("housing_value: nothing new to learn from: ")
    assert champion.endswith("(ridge), held-out errors:")


def test_an_exposure_without_a_champion_is_said(worked: Worked, exposure: Exposure) -> None:
    with pytest.raises(run.RunError, match=r"^No version of other passed the gate: it is not consumed\.$"):
        shown(replace(exposure, name="other"), worked.consumed.publication.publication_id, "trained")
