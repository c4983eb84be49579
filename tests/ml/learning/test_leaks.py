"""No held-out number knows its own fold: neither a prediction nor an interval, of any candidate, by either split."""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ml.learning import candidates, fits, intervals
from ml.learning.candidates import Candidate
from ml.learning.training_set import TrainingSet
from ml.spec import CandidateSpec
from tests.ml.conftest import POINTS
from tests.ml.rows import frame, published, silent, trained_on

RECIPES = [
    CandidateSpec(name="ridge"),
    CandidateSpec(name="gradient_boosting", parameters={"max_iter": 10}),
    CandidateSpec(
        name="neighbours",
        estimator="ml.recipes.neighbours.gradient_boosting",
        parameters={"longitude": "a", "latitude": "b", "max_iter": 10},
    ),
]
ROWS = frame(300)


def made(recipe: CandidateSpec, training: TrainingSet) -> Candidate:
    con = duckdb.connect(config={"threads": 1})
    published(con, training.sample)
    return candidates.build(recipe, con, training, silent)


def held_out(recipe: CandidateSpec, split: str, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    training = trained_on(rows, POINTS)
    return made(recipe, training).held_out(split)


def otherwise(training: TrainingSet, split: str, number: int) -> pd.DataFrame:
    """The rows with other targets in a fold."""
    keys = training.sample["id"][training.fold(split) == number]
    return ROWS.assign(y=ROWS["y"].where(~ROWS["id"].isin(keys), ROWS["y"] * -7 + 1000))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("split", ["random", "group"])
def test_what_is_predicted_of_a_fold_does_not_change_with_its_targets(recipe: CandidateSpec, split: str) -> None:
    training, expected = trained_on(ROWS, POINTS), held_out(recipe, split, ROWS)
    fold = training.fold(split)
    for number in np.unique(fold):
        found = held_out(recipe, split, otherwise(training, split, number))
        np.testing.assert_allclose(found[fold == number], expected[fold == number], rtol=1e-9)
        assert not np.allclose(found[fold != number], expected[fold != number])


def test_the_leak_test_finds_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_everything(
        estimator: Any, x: pd.DataFrame, y: "pd.Series[float]", learned: Any, held: Any, *others: Any
    ) -> npt.NDArray[np.float64]:
        return np.asarray(fits.fit(estimator, x, y).predict(x[held]))

    monkeypatch.setattr(candidates, "hold_out", on_everything)
    training, expected = trained_on(ROWS, POINTS), held_out(RECIPES[1], "random", ROWS)
    fold = training.fold("random")
    found = held_out(RECIPES[1], "random", otherwise(training, "random", 0))
    assert not np.allclose(found[fold == 0], expected[fold == 0])


def test_the_interval_of_a_fold_does_not_change_with_its_targets() -> None:
    training = trained_on(ROWS, POINTS)
    fold, actual = training.fold("random"), np.asarray(training.target, np.float64)
    predicted = made(RECIPES[0], training).held_out("random")
    expected = intervals.held_out_half_widths(training.features, predicted, actual, fold, 0.9)
    for number in np.unique(fold):
        other = np.where(fold == number, actual * -7 + 1000, actual)
        found = intervals.held_out_half_widths(training.features, predicted, other, fold, 0.9)
        assert found[fold == number].tolist() == expected[fold == number].tolist()
        assert not np.allclose(found[fold != number], expected[fold != number])
