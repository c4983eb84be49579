"""Which exposure's card is saved: the one that is named, or the only one."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml.reports import card as cards
from orchestration import project
from orchestration.commands import card
from tests.orchestration.assets.test_model import EXPOSURE

ANOTHER = replace(EXPOSURE, name="another")


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is asked of the card's own command."""
    asked: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(cards, "main", main)
    return asked


def test_the_only_exposure_need_not_be_named(saved: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "exposures", lambda: (EXPOSURE,))
    assert card.main(["card.html"]) == 0
    assert saved == [[EXPOSURE.name, "card.html"]]


def test_of_several_one_is_named(
    saved: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project, "exposures", lambda: (ANOTHER, EXPOSURE))
    there = f"Of type ml there are: another, {EXPOSURE.name}. Say EXPOSURE=… of one.\n"
    assert card.main(["card.html"]) == 1
    assert capsys.readouterr().err == f"The project {project.ROOT} has not one exposure alone. {there}"
    assert card.main(["card.html", "nope"]) == 1
    assert capsys.readouterr().err == f"nope is no exposure of the project {project.ROOT}. {there}"
    assert card.main(["card.html", "another"]) == 0
    assert saved == [["another", "card.html"]]


def test_where_to_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert card.main([]) == 2
    assert "Say where to" in capsys.readouterr().err


def test_an_error_of_the_project_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert card.main(["card.html"]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path} has no dbt_project.yml. ")
