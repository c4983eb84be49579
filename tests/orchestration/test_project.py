"""The manifest is parsed anew when it must be, and only then; what dbt parses is tests/dbt's subject."""

import os
import shutil
from pathlib import Path

import msgpack
import pytest

from orchestration import project
from orchestration.settings import ParseError
from tests.conftest import ROOT


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
        assert project.manifest() == {"environment": ""}
    assert len(parses) == 1


@pytest.mark.parametrize("torn", ["", '{"nodes": {', "[]", "\udcff", "null"])
def test_a_manifest_that_was_torn_is_parsed_anew(parses: list[str], torn: str) -> None:
    project.manifest()
    (project.TARGET / "manifest.json").write_bytes(torn.encode(errors="surrogateescape"))
    assert project.manifest() == {"environment": ""}
    assert len(parses) == 2


def test_a_parse_that_leaves_no_manifest_is_said(parses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_parse", lambda: None)
    with pytest.raises(ParseError, match=r"dbt has left no manifest in .* or none that can be read"):
        project.manifest()


def test_a_setting_that_the_project_asks_for_parses_it_anew(parses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest()
    monkeypatch.setenv("SOMETHING_ELSE", "true")
    project.manifest()
    assert len(parses) == 1
    monkeypatch.setenv("HOUSING_NEW_REGION", "true")
    project.manifest()
    project.manifest()
    assert len(parses) == 2


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with a package that lies elsewhere, as `dbt deps` links it."""
    root, package = tmp_path / "été 家", tmp_path / "package"
    for folder, files in {
        root: {
            "dbt_project.yml": "name: one\nprofile: own\nmodel-paths: [\"{{ env_var('PLACE', 'models') }}\"]\n",
            "packages.yml": "packages: []\n",
            "profiles.yml": "own: {target: dev, outputs: {dev: {type: duckdb}}}\n",
            "models/exposures.yml": "exposures: []\n",
            "models/one.sql": "select {{ env_var( 'DBT_ENV_SECRET_ONE', '') }} as one\n",
            "seeds/rows.csv": "id\n1\n",
        },
        package: {"dbt_project.yml": "name: two\n", "macros/two.sql": "{% macro two() %}2{% endmacro %}\n"},
    }.items():
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    (root / "dbt_packages").mkdir()
    (root / "dbt_packages" / "tract").symlink_to(package)
    monkeypatch.setattr(project, "ROOT", root)
    monkeypatch.setenv("HOME", str(tmp_path))
    return root


@pytest.mark.parametrize(
    "name",
    ["models/exposures.yml", "models/one.sql", "dbt_packages/tract/macros/two.sql", "profiles.yml", "seeds/rows.csv"],
)
def test_a_file_is_another_when_its_content_is_whatever_its_times_say(parses: list[str], copy: Path, name: str) -> None:
    project.manifest()
    file = copy / name
    then, text = file.stat(), file.read_text()
    file.write_text(text.replace("1", "3") if "1" in text else text.swapcase())  # as long as before
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert project.differs()
    project.manifest()
    os.utime(file, (1, 1))  # brought by rsync, with the time that it had elsewhere
    project.manifest()
    assert len(parses) == 2
    file.write_text(text)
    project.manifest()
    assert len(parses) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("models/more/new.yml", "exposures: []"),
        ("analyses/new.sql", "select 1"),
        ("functions/new.sql", "select 1"),
        ("selectors.yml", "selectors: []"),
        ("packages.yml", None),
        ("models/one.sql", None),
    ],
)
def test_a_file_that_comes_or_goes_parses_it_anew(
    parses: list[str], copy: Path, name: str, content: str | None
) -> None:
    project.manifest()
    (copy / "README.md").write_text("dbt does not read this")
    project.manifest()
    assert len(parses) == 1
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).unlink() if content is None else (copy / name).write_text(content)
    project.manifest()
    assert len(parses) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DBT_ENV_SECRET_ONE", "hidden"),
        ("PLACE", "elsewhere"),
        ("ONLY_DBT_KNOWS", "yes"),  # the name is no text of a file, as `env_var(prefix ~ 'KNOWS')`
        ("DBT_TARGET", "prod"),
    ],
)
def test_a_variable_that_dbt_reads_parses_it_anew_and_no_secret_is_kept(
    parses: list[str], copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (tmp_path / "partial_parse.msgpack").write_bytes(msgpack.packb({"env_vars": {"ONLY_DBT_KNOWS": "no"}}))
    project.manifest()
    monkeypatch.setenv(name, value)
    project.manifest()
    project.manifest()
    assert len(parses) == 2
    assert "hidden" not in (tmp_path / "made_of.json").read_text()


def test_a_parse_that_was_cut_off_is_made_again(parses: list[str], copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest()
    text = (copy / "models" / "one.sql").read_text()
    (copy / "models" / "one.sql").write_text("select 2 as one")
    with monkeypatch.context() as patch:
        patch.setattr(project, "_parse", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            project.manifest()
    (copy / "models" / "one.sql").write_text(text)
    project.manifest()
    assert len(parses) == 2


def test_a_setting_that_is_no_yaml_is_a_sentence(parses: list[str], copy: Path) -> None:
    (copy / "dbt_project.yml").write_text("name: [one")
    with pytest.raises(ParseError) as error:
        project.manifest()
    assert str(error.value).startswith(f"{copy / 'dbt_project.yml'} is no YAML: while parsing a flow sequence")


@pytest.mark.slow
def test_dbt_itself_parses_what_came_with_the_time_of_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "TARGET", tmp_path / "target")
    root = tmp_path / "d'été 家"
    shutil.copytree(ROOT / "dbt_project", root / "dbt_project")
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / name, root)
    (root / "dbt_packages").mkdir()
    (root / "dbt_packages" / "tract").symlink_to(root / "dbt_project" / "tract")
    monkeypatch.setattr(project, "ROOT", root)
    (before,) = project.exposures()
    file = root / "dbt_project" / "housing" / "models" / "exposures.yml"
    then, text = file.stat(), file.read_text()
    assert before.name == "housing_value"
    file.write_text(text.replace("name: housing_value\n", "name: housing_price\n", 1))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    (after,) = project.exposures()
    assert after.name == "housing_price"
