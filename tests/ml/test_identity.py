"""A version's name comes from what decides its numbers, all of it and nothing else."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml import identity

Write = Callable[[str, str], Path]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of ml."""
    copy = tmp_path / "ml"
    shutil.copytree(identity.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("reports/card.py", "\nDIGITS = 7\n"),
        ("reports/pictures.py", "\nDIGITS = 7\n"),
        ("consumption.py", "\nDIGITS = 7\n"),
        ("backends.py", "\nDIGITS = 7\n"),
        ("records/findings.py", "\nDIGITS = 7\n"),
        ("recipes/neighbours.py", "\nDIGITS = 7\n"),  # counts for the candidates that name it
        ("learning/gate.py", "\n# a comment\n"),
    ],
)
def test_what_decides_no_number_changes_nothing(room: Path, module: str, text: str) -> None:
    before = identity.modules(room, identity.LEARNING)
    append(room / module, text)
    assert identity.modules(room, identity.LEARNING) == before


def test_a_docstring_changes_nothing(room: Path) -> None:
    before = identity.modules(room, identity.LEARNING)
    file = room / "learning" / "folds.py"
    file.write_text(file.read_text().replace('"""', '"""In other words: ', 1))
    assert identity.modules(room, identity.LEARNING) == before


@pytest.mark.parametrize(
    "module", ["learning/gate.py", "linear/ridge.py", "lake/sql.py", "columns.py", "serving/scoring.py"]
)
def test_what_learns_or_predicts_counts(room: Path, module: str) -> None:
    before = identity.modules(room, identity.LEARNING)
    append(room / module, "\nDIGITS = 7\n")
    assert identity.modules(room, identity.LEARNING) != before


def test_a_new_module_of_a_room_that_learns_counts(room: Path) -> None:
    before = identity.modules(room, identity.LEARNING)
    (room / "learning" / "another.py").write_text("DIGITS = 7\n")
    assert identity.modules(room, identity.LEARNING) != before


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files into a folder that Python imports from."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(name: str, text: str) -> Path:
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    yield write
    for name in [name for name in sys.modules if name.startswith("tract_")]:
        del sys.modules[name]


def install(write: Write, name: str, version: str, *files: str, editable: bool = False) -> None:
    """What a package manager leaves of a distribution."""
    info = f"{name}-1.dist-info"
    write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(f"{info}/RECORD", "".join(f"{file},,\n" for file in ([] if editable else files)))
    write(f"{info}/direct_url.json", json.dumps({"url": "file:///somewhere", "dir_info": {"editable": editable}}))


def test_an_installed_candidate_counts_as_its_distribution_and_version(write: Write) -> None:
    file = write("tract_fancy/__init__.py", "class Forest: ...\n")
    install(write, "tract-fancy", "1.0", "tract_fancy/__init__.py")
    before = identity.code_version(["tract_fancy.Forest"])
    append(file, "DIGITS = 7\n")
    assert identity.code_version(["tract_fancy.Forest"]) == before
    install(write, "tract-fancy", "1.1", "tract_fancy/__init__.py")
    assert identity.code_version(["tract_fancy.Forest"]) != before


def test_another_distribution_s_upgrade_changes_nothing(write: Write) -> None:
    write("tract_fancy/__init__.py", "class Forest: ...\n")
    write("tract_other.py", "")
    install(write, "tract-fancy", "1.0", "tract_fancy/__init__.py")
    install(write, "tract-other", "1.0", "tract_other.py")
    before = identity.code_version(["tract_fancy.Forest"])
    install(write, "tract-other", "2.0", "tract_other.py")
    assert identity.code_version(["tract_fancy.Forest"]) == before


def test_an_editable_candidate_counts_as_its_source(write: Write) -> None:
    file = write("tract_mine.py", "class Forest: ...\n")
    install(write, "tract-mine", "1.0", "tract_mine.py", editable=True)
    before = identity.code_version(["tract_mine.Forest"])
    append(file, "# a comment\n")
    assert identity.code_version(["tract_mine.Forest"]) == before
    append(file, "DIGITS = 7\n")
    assert identity.code_version(["tract_mine.Forest"]) != before


@pytest.mark.parametrize(
    "line", ["from tract_mine import steps", "from tract_mine.steps import DEPTH", "from . import steps"]
)
def test_what_a_plain_candidate_imports_of_its_package_counts(write: Write, line: str) -> None:
    package = write("tract_mine/__init__.py", "")
    steps = write("tract_mine/steps.py", "DEPTH = 3\n")
    unused = write("tract_mine/unused.py", "DEPTH = 3\n")
    write("tract_mine/forest.py", f"{line}\n\n\nclass Forest: ...\n")
    path = "tract_mine.forest.Forest"
    before = identity.code_version([path])
    unused.write_text("DEPTH = 4\n")
    assert identity.code_version([path]) == before
    steps.write_text("DEPTH = 4\n")
    changed = identity.code_version([path])
    assert changed != before
    package.write_text("DEPTH = 5\n")  # runs before the module
    assert identity.code_version([path]) not in (before, changed)


def test_the_version_of_what_a_plain_candidate_imports_counts(write: Write) -> None:
    write("tract_fancy/__init__.py", "class Forest: ...\n")
    write("tract_mine.py", "import tract_fancy\n\n\nclass Mine(tract_fancy.Forest): ...\n")
    install(write, "tract-fancy", "1.0", "tract_fancy/__init__.py")
    before = identity.code_version(["tract_mine.Mine"])
    install(write, "tract-fancy", "1.1", "tract_fancy/__init__.py")
    assert identity.code_version(["tract_mine.Mine"]) != before


def test_a_recipe_of_ml_counts_as_its_source_and_that_of_the_recipes_that_it_imports() -> None:
    lines = identity._candidates(["ml.recipes.neighbours.gradient_boosting"])
    names = [line.partition(" ")[0] for line in lines]
    assert {"ml.recipes.neighbours", "ml.recipes.averaged", "ml.recipes.nearest"} <= set(names)
    assert "ml.recipes.surroundings" not in names


def test_a_candidate_that_cannot_be_found_is_left_to_those_who_fit_it() -> None:
    assert identity.code_version(["nowhere.at.all.Forest"]) == identity.code_version()
