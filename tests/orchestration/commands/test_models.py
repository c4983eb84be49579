"""Which exposure a verb is for: the one that is named, or the only one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml import lake
from ml.records import migrations, tables
from orchestration import project
from orchestration.commands import models
from orchestration.settings import ParseError
from tests.orchestration.assets.test_model import EXPOSURE

ANOTHER = replace(EXPOSURE, name="another")


def test_the_only_exposure_need_not_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "exposures", lambda: (EXPOSURE,))
    assert project.exposure("") == EXPOSURE


def test_of_several_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "exposures", lambda: (ANOTHER, EXPOSURE))
    there = f"Of type ml there are: another, {EXPOSURE.name}. Name one."
    with pytest.raises(project.ExposureError) as error:
        project.exposure("")
    assert str(error.value) == f"The project {project.ROOT} has not one exposure alone. {there}"
    with pytest.raises(project.ExposureError) as error:
        project.exposure("nope")
    assert str(error.value) == f"nope is no exposure of the project {project.ROOT}. {there}"
    assert project.exposure("another") == ANOTHER


def test_no_other_target_is_changed_than_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "exposures", lambda: (EXPOSURE,))
    monkeypatch.delenv("DBT_ENGINE_TARGET", raising=False)
    monkeypatch.setenv("DBT_TARGET", "pr_41")
    verbs: list[Callable[[], None]] = [
        lambda: models.promote("", "one", "because"),
        lambda: models.rollback("", "because"),
        lambda: models.retry(""),
        lambda: models.search(""),
        lambda: models.sign("", yes=True),
    ]
    for verb in verbs:
        with pytest.raises(models.OtherTargetError) as error:
            verb()
        assert str(error.value) == (
            f"DBT_TARGET is pr_41, which the profile tract in {project.ROOT / 'profiles.yml'} does not have as a "
            "target that enters the lake: lake would be changed in its place. Unset DBT_TARGET, or add that target."
        )
    monkeypatch.setenv("DBT_TARGET", "lake")
    assert models.changed("") == EXPOSURE
    monkeypatch.setenv("DBT_TARGET", "pr_41")
    monkeypatch.setattr(project, "production_target", lambda: None)  # then every target is production
    assert models.changed("") == EXPOSURE


def test_a_report_is_one_file_and_a_model_without_a_card_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with lake.connect() as con:
        for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [EXPOSURE])]:
            con.execute(statement)
    monkeypatch.setattr(models, "exposures", lambda: (EXPOSURE,))
    models.report(tmp_path / "all.html")
    assert capsys.readouterr().out.splitlines() == [
        "points has no champion: build its features, and its first version is trained.",
        f"Wrote {tmp_path / 'all.html'}",
    ]
    assert [path.name for path in tmp_path.glob("*.html")] == ["all.html"]
    assert "<h1>Models of the lake</h1>" in (tmp_path / "all.html").read_text()


def test_a_folder_without_a_project_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "ROOT", tmp_path)
    with pytest.raises(ParseError) as error:
        project.exposure("")
    assert str(error.value).startswith(f"{tmp_path} has no dbt_project.yml. ")
