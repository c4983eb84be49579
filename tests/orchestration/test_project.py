"""The manifest is parsed anew when it must be, and only then; what dbt parses is tests/dbt's subject."""

from pathlib import Path

import pytest

from orchestration import project


@pytest.fixture
def parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that dbt would have parsed, here 0.0 s instead of 8."""
    found: list[str] = []

    def parse() -> None:
        found.append("parsed")
        (tmp_path / "manifest.json").write_text("{}")

    monkeypatch.setattr(project, "TARGET", tmp_path)
    monkeypatch.setattr(project, "_parse", parse)
    monkeypatch.delenv("HOUSING_NEW_REGION", raising=False)
    return found


def test_the_manifest_is_parsed_once(parses: list[str]) -> None:
    for _ in range(3):
        assert project.manifest() == {}
    assert len(parses) == 1


def test_a_setting_that_the_project_asks_for_parses_it_anew(parses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest()
    monkeypatch.setenv("SOMETHING_ELSE", "true")
    project.manifest()
    assert len(parses) == 1
    monkeypatch.setenv("HOUSING_NEW_REGION", "true")
    project.manifest()
    project.manifest()
    assert len(parses) == 2
