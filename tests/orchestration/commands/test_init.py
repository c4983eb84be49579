"""`tract init` makes a project ready, shows what it changes, and changes nothing twice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from orchestration.commands import cli, init
from orchestration.commands.init import Asked, InitError
from tests.conftest import ROOT

ASKED = Asked("harvests", "bed", "courgettes_kg")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "allotments"
    shutil.copytree(ROOT / "tests" / "second_project", copy)
    monkeypatch.setenv("DBT_PROJECT_DIR", str(copy))
    monkeypatch.setenv("HOME", str(tmp_path))
    return copy


def make_ready(project: Path, asked: Asked = ASKED) -> list[str]:
    changes = init.plan(project, asked)
    for change in changes:
        change.write()
    return [change.path.name for change in changes]


def test_it_adds_package_hook_target_and_exposure_and_keeps_what_was_there(project: Path) -> None:
    assert make_ready(project) == ["packages.yml", "dbt_project.yml", "profiles.yml", ".gitignore", "tract.yml"]
    (package,) = yaml.safe_load((project / "packages.yml").read_text())["packages"]
    assert (project / package["local"]).resolve() == ROOT / "dbt_project" / "tract"
    settings = yaml.safe_load((project / "dbt_project.yml").read_text())
    assert settings["models"] == {"+post-hook": "{{ tract.sign() }}", "allotments": {"+materialized": "table"}}
    assert settings["vars"] == {"production_target": "tract"}
    profile = yaml.safe_load((project / "profiles.yml").read_text())["gardeners"]
    assert (profile["target"], list(profile["outputs"])) == ("tract", ["tract", "dev"])
    assert profile["outputs"]["tract"]["schema"] == profile["outputs"]["dev"]["schema"] == "soil"
    (exposure,) = yaml.safe_load((project / "models" / "tract.yml").read_text())["exposures"]
    assert exposure["depends_on"] == ["ref('harvests')"]
    assert exposure["config"]["meta"]["ml"] == {
        "key": "bed",
        "target": "courgettes_kg",
        "candidates": ["ridge", "gradient_boosting"],
    }


def test_a_second_time_there_is_nothing_to_change(project: Path) -> None:
    make_ready(project)
    assert init.plan(project, ASKED) == []


def test_the_example_of_this_repo_is_ready() -> None:
    assert init.plan(ROOT, Asked()) == []


def test_without_names_the_exposure_is_a_comment(project: Path) -> None:
    make_ready(project, Asked())
    text = (project / "models" / "tract.yml").read_text()
    assert yaml.safe_load(text) is None
    uncommented = "\n".join(line[2:] for line in text.splitlines()[1:])
    assert yaml.safe_load(uncommented)["exposures"][0]["config"]["meta"]["ml"]["key"] == "my_key"


def test_a_project_without_models_packages_or_profile_gets_them(project: Path) -> None:
    (project / "dbt_project.yml").write_text("name: bare\nprofile: none_yet\n")
    (project / "profiles.yml").unlink()
    make_ready(project)
    assert yaml.safe_load((project / "dbt_project.yml").read_text())["models"] == {"+post-hook": "{{ tract.sign() }}"}
    assert list(yaml.safe_load((project / "profiles.yml").read_text())["none_yet"]["outputs"]) == ["tract"]
    assert init.plan(project, ASKED) == []


def test_packages_and_comments_that_are_there_stay(project: Path) -> None:
    (project / "packages.yml").write_text("# ours\npackages:\n  - package: someone/else\n    version: 1.0.0\n")
    profiles = project / "profiles.yml"
    profiles.write_text(
        f"# of all teams\nothers:\n  target: x\n  outputs:\n    x: {{type: duckdb}}\n\n{profiles.read_text()}"
    )
    make_ready(project)
    text = (project / "packages.yml").read_text()
    assert text.startswith("# ours\n")
    assert [list(package) for package in yaml.safe_load(text)["packages"]] == [["local"], ["package", "version"]]
    found = yaml.safe_load(profiles.read_text())
    assert profiles.read_text().startswith("# of all teams\n")
    assert found["others"] == {"target": "x", "outputs": {"x": {"type": "duckdb"}}}
    assert found["gardeners"]["target"] == "tract"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("dbt_project.yml", None, "is no dbt project: it has no dbt_project.yml"),
        (
            "profiles.yml",
            "gardeners:\n  outputs:\n    dev: {type: postgres}\n",
            "target dev of the profile gardeners is of type postgres",
        ),
        ("profiles.yml", "gardeners: [", "profiles.yml is no YAML"),
        (
            "dbt_project.yml",
            "name: a\nprofile: gardeners\nmodels:\n  +post-hook: x\n",
            "have a post-hook already",
        ),
    ],
)
def test_what_it_cannot_change_it_says(project: Path, file: str, text: str | None, sentence: str) -> None:
    if text is None:
        (project / file).unlink()
    else:
        (project / file).write_text(text)
    with pytest.raises(InitError, match=sentence):
        init.plan(project, ASKED)


def test_it_shows_the_diff_and_asks_before_it_writes(project: Path) -> None:
    arguments = ["init", "--model", "harvests", "--key", "bed", "--target", "courgettes_kg"]
    refused = CliRunner().invoke(cli.tract, arguments, input="n\n")
    assert '+  +post-hook: "{{ tract.sign() }}"' in refused.output
    assert "Write this?" in refused.output
    assert not (project / "packages.yml").exists()
    assert CliRunner().invoke(cli.tract, arguments, input="y\n").exit_code == 0
    assert (project / "packages.yml").exists()
    assert "is ready; nothing to change" in CliRunner().invoke(cli.tract, arguments).output


def test_a_shell_of_another_charset_changes_nothing_in_what_is_written(project: Path) -> None:
    file = project / "dbt_project.yml"
    file.write_text(file.read_text(encoding="utf-8").replace("models:", "# Gärten – 庭\nmodels:"), encoding="utf-8")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run(
        [sys.executable, "-m", "orchestration.commands", "init", "--yes"],
        env=ascii_only,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert " # Gärten – 庭\n" in told.stdout
    assert "# Gärten – 庭\nmodels:\n" in file.read_text(encoding="utf-8")
    assert init.HOOK in file.read_text(encoding="utf-8")
