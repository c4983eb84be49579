"""The step that writes cards fails by itself, with a sentence; what was consumed before it stays."""

from pathlib import Path

import dagster as dg
import pytest

from ml.exposures import Exposure
from ml.spec import Spec
from orchestration.assets import model as learning

EXPOSURE = Exposure(
    name="points",
    owner="Someone",
    owner_email=None,
    description="",
    unique_id="model.tract.points",
    relation="features.points",
    columns={"id": "VARCHAR", "a": "DOUBLE", "y": "DOUBLE"},
    spec=Spec(key="id", target="y", candidates=("ridge",)),
)


def test_a_card_that_cannot_be_written_fails_its_step_with_the_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_HOME", str(tmp_path))
    result = dg.materialize([learning.card_asset(EXPOSURE)], raise_on_error=False)
    (failed,) = result.get_step_failure_events()
    error = failed.step_failure_data.error
    assert error is not None
    assert "The lake is not up: " in error.message
    assert not result.asset_materializations_for_node("points__model_card")
