"""A path that names nothing is known before anything is imported, and what only an import can tell is left to it."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml.estimators import missing


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("sklearn.linear_model.Ridge", None),
        ("sklearn.ensemble.HistGradientBoostingRegressor", None),
        ("ml.recipes.neighbours.gradient_boosting", None),
        ("os.path.join", None),  # a module that another puts there
        ("math.sqrt", None),  # compiled
        ("sklearn.linear_model.Rigde", "sklearn.linear_model has no Rigde, but Ridge"),
        ("sklearn.linear_model.Nothing_like_it", "sklearn.linear_model has no Nothing_like_it"),
        ("sklearn.nowhere.Ridge", "there is no module sklearn.nowhere here"),
        ("sklearn.linear_model.Ridge.fit", "there is no module sklearn.linear_model.Ridge here"),
        ("nowhere.Ridge", "there is no package nowhere here"),
        ("Ridge", "it names no module"),
    ],
)
def test_what_is_not_there_is_said(path: str, why: str | None) -> None:
    assert missing(path) == why


@pytest.mark.parametrize("text", ["from math import *", "def __getattr__(name): return float", "globals()['Mine'] = 1"])
def test_names_that_only_an_import_can_tell_are_not_doubted(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_recipes.py").write_text("class Other: ...")
    assert missing("own_recipes.Mine") == "own_recipes has no Mine"
    (tmp_path / "own_recipes.py").write_text(text)
    assert missing("own_recipes.Mine") is None


def test_nothing_is_imported() -> None:
    asked = "import sys; from ml.estimators import missing; missing('sklearn.linear_model.Ridge'); print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert "ml.estimators" in imported
    assert not {"sklearn", "numpy"} & set(imported)
