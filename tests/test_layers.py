"""The contracts of pyproject.toml hold the layers of `ml`: each is broken here, in a copy, by one import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

IGNORED = shutil.ignore_patterns("__pycache__")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages that the contracts speak of, to be changed."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("ml", "orchestration"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=IGNORED)
    return tmp_path


def lint_imports(root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=root,
        env={"PATH": os.environ["PATH"]},  # a PYTHONPATH would show it the packages of the repo
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layers_are_held(copy: Path) -> None:
    told = lint_imports(copy)
    assert told.returncode == 0, told.stdout
    assert "Contracts: 5 kept, 0 broken." in told.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract", "found"),
    [
        ("lake/locks", "import ml.consumption", "The layers of ml", "ml.lake.locks -> ml.consumption"),
        ("records/tables", "import ml.learning.gate", "The layers of ml", "ml.records.tables -> ml.learning.gate"),
        ("unheard_of", "", "The layers of ml", "ml.unheard_of"),
        ("code", "import dagster", "ml knows neither Dagster nor dbt", "ml.code -> dagster"),
        ("code", "import dbt.version", "ml knows neither Dagster nor dbt", "ml.code -> dbt"),
        (
            "code",
            "import orchestration.project",
            "ml knows neither Dagster nor dbt",
            "ml.code -> orchestration.project",
        ),
        (
            "recipes/averaged",
            "import ml.code",
            "Recipes know nothing of ml but each other",
            "ml.recipes.averaged -> ml.code",
        ),
        ("linear/spectrum", "import ml.spec", "Linear algebra knows no exposure", "ml.linear.spectrum -> ml.spec"),
        ("records/tables", "import sklearn", "Records know no scikit-learn", "ml.records.tables -> sklearn"),
    ],
)
def test_an_import_that_breaks_a_contract_is_named(
    copy: Path, module: str, statement: str, contract: str, found: str
) -> None:
    with (copy / "ml" / f"{module}.py").open("a") as file:
        file.write(f"\n{statement}\n")
    told = lint_imports(copy)
    assert told.returncode == 1
    assert f"{contract} BROKEN" in told.stdout
    assert found in told.stdout
