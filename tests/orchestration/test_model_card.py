"""The step that writes cards fails by itself, with a sentence; what was consumed before it stays."""

from pathlib import Path

import dagster as dg
import pytest

from ml.card import Card
from ml.spec import Exposure, Spec
from orchestration import learning
from orchestration.translator import card_key

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


def test_the_newest_card_is_told_first_and_which_were_written() -> None:
    cards = (Card("new", "s3://b/cards/points/new.html", "f00", True), Card("old", "s3://b/o.html", "ba2", False))
    facts = learning.card_facts(cards)
    assert facts["card"] == dg.MetadataValue.path("s3://b/cards/points/new.html")
    assert facts["card of old"] == dg.MetadataValue.path("s3://b/o.html")
    assert facts["written now"] == "new"
    assert card_key(EXPOSURE).path == ["points", "model_card"]
