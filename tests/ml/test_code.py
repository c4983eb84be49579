"""Which project is meant, and what follows it: the lake's home, and the commit that is recorded."""

import subprocess
from pathlib import Path

import pytest

from ml import code, lake
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACT_HOME", "DBT_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_setting_it_is_the_checkout() -> None:
    assert (code.project(), lake.home()) == (ROOT, ROOT / ".lake")


def test_dbts_own_setting_says_which_and_the_lake_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBT_PROJECT_DIR", "orders")
    assert (code.project(), lake.home()) == (tmp_path / "orders", tmp_path / "orders" / ".lake")


def test_a_home_that_is_said_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT_PROJECT_DIR", str(tmp_path / "orders"))
    monkeypatch.setenv("TRACT_HOME", str(tmp_path / "elsewhere"))
    assert lake.home() == tmp_path / "elsewhere"


def test_the_commit_is_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT_PROJECT_DIR", str(tmp_path))
    assert code.git_commit() is None

    def git(*arguments: str) -> str:
        name = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        return subprocess.run(
            ["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init")
    (tmp_path / "dbt_project.yml").write_text("name: orders\n")
    git("add", ".")
    git("commit", "-m", "Begin")
    commit = git("rev-parse", "HEAD")
    assert code.git_commit() == commit
    (tmp_path / "dbt_project.yml").write_text("name: others\n")
    assert code.git_commit() == f"{commit}+"
