"""Which profile and target are meant, whatever the shell has set for another project."""

from pathlib import Path

import pytest

from orchestration import profile, project

OURS = """
one:
  target: "{{ env_var('ONE_TARGET', 'dev') }}"
  outputs:
    dev: {type: duckdb}
    lake: {type: duckdb, plugins: [{module: dbt_project.tract.plugin}]}
    production: {type: duckdb, plugins: [{module: dbt_project.tract.plugin}]}
"""
THEIRS = (
    "other: {target: prod, outputs: {prod: {type: snowflake}}}\none: {target: dev, outputs: {dev: {type: duckdb}}}\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a profile of its own, in a home without one; another project's profiles beside it."""
    for name in profile.NAMES:
        monkeypatch.delenv(f"DBT_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = tmp_path / "project"
    root.mkdir()
    (root / "dbt_project.yml").write_text("name: one\nprofile: one\n")
    (root / "profiles.yml").write_text(OURS)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "profiles.yml").write_text(THEIRS)
    return root


def test_the_project_s_own_when_nothing_is_said(root: Path) -> None:
    found = profile.find(root)
    assert found == profile.Profile(root, "one", "lake", ())
    assert found.arguments == ("--profiles-dir", str(root), "--profile", "one", "--target", "lake")


@pytest.mark.parametrize("said", ["production", "lake"])
def test_a_target_that_enters_the_lake_is_taken_when_it_is_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("DBT_TARGET", said)
    assert profile.find(root) == profile.Profile(root, "one", said, ())
    monkeypatch.delenv("DBT_TARGET")
    monkeypatch.setenv("ONE_TARGET", said)
    assert profile.find(root).target == said


@pytest.mark.parametrize("prefix", ["DBT_", "DBT_ENGINE_"])
def test_what_is_set_for_another_project_changes_nothing_and_is_said(
    root: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    theirs = root.parent / "theirs"
    for name, value in {"PROFILES_DIR": str(theirs), "PROFILE": "other", "TARGET": "prod"}.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    found = profile.find(root)
    assert (found.directory, found.name, found.target) == (root, "one", "lake")
    place = root / "profiles.yml"
    assert found.ignored == (
        f"DBT_PROFILES_DIR is {theirs}, which has nothing that enters the lake: {root} is used ({place}).",
        f"DBT_PROFILE is other, which has nothing that enters the lake: one is used ({place}).",
        f"DBT_TARGET is prod, which has nothing that enters the lake: lake is used ({place}).",
    )


def test_profiles_that_are_kept_elsewhere_are_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / ".dbt").mkdir()
    (root / "profiles.yml").rename(root.parent / ".dbt" / "profiles.yml")
    assert profile.find(root).directory == root.parent / ".dbt"
    (root.parent / "kept").mkdir()
    (root.parent / ".dbt" / "profiles.yml").rename(root.parent / "kept" / "profiles.yml")
    monkeypatch.setenv("DBT_PROFILES_DIR", str(root.parent / "kept"))
    assert profile.find(root) == profile.Profile(root.parent / "kept", "one", "lake", ())


def test_where_nothing_enters_the_lake_dbt_is_left_to_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "profiles.yml").unlink()
    monkeypatch.setenv("DBT_PROFILES_DIR", str(root.parent / "theirs"))
    assert profile.find(root) == profile.Profile(root.parent / "theirs", "one", None, ())


def test_a_process_of_ours_is_told_all_of_it_and_nothing_of_another_project(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "ROOT", root)
    for prefix in ("DBT_", "DBT_ENGINE_"):
        monkeypatch.setenv(f"{prefix}PROFILES_DIR", str(root.parent / "theirs"))
        monkeypatch.setenv(f"{prefix}TARGET", "prod")
    told = {name: value for name, value in project.environment().items() if name.startswith("DBT_")}
    assert {name: told[name] for name in told if "SEND" not in name} == {
        "DBT_PROJECT_DIR": str(root),
        "DBT_PROFILES_DIR": str(root),
        "DBT_PROFILE": "one",
        "DBT_TARGET": "lake",
    }
