"""Searches: the same draws for the same seed, budgets kept, never worse than what is known."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from ml.learning import trials
from ml.learning.fits import EstimatorError
from ml.learning.trials import Trial
from ml.spec import CandidateSpec, Range, SearchSpec
from tests.ml.rows import frame, silent

FOREST = "sklearn.ensemble.HistGradientBoostingRegressor"


class Slow(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Takes its time, and predicts a constant."""

    def __init__(self, constant: float = 0.0, seconds: float = 0.0) -> None:
        self.constant = constant
        self.seconds = seconds

    def fit(self, X: Any, y: Any) -> "Slow":
        time.sleep(self.seconds)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.constant)


def boosting(space: dict[str, Any], **budget: Any) -> CandidateSpec:
    return CandidateSpec(
        name="boosting", estimator=FOREST, parameters={"max_iter": 5}, search=SearchSpec(space=space, **budget)
    )


def slow(space: dict[str, Any], parameters: dict[str, Any], **budget: Any) -> CandidateSpec:
    return CandidateSpec(
        name="slow",
        estimator="tests.ml.learning.test_trials.Slow",
        parameters=parameters,
        search=SearchSpec(space=space, **budget),
    )


def searched(recipe: CandidateSpec, seed: int = 0, rows: pd.DataFrame | None = None) -> list[Trial]:
    rows = frame(300) if rows is None else rows
    return trials.search(recipe, rows[["a", "b"]], trials.Question(rows["y"].to_numpy()), None, seed, silent)


SPACE = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "max_leaf_nodes": [4, 8, 31], "max_iter": [5, 50]}


@pytest.mark.slow
def test_the_same_seed_finds_the_same_and_the_best_is_not_worse_than_what_is_known() -> None:
    recipe = boosting(SPACE, trials=12)
    first, again = searched(recipe), searched(recipe)
    said = [(t.number, t.parameters, t.loss, t.folds) for t in first]
    assert said == [(t.number, t.parameters, t.loss, t.folds) for t in again]
    assert len(said) == 12
    assert said[0][:2] == (0, {})
    found = trials.best(recipe, first)
    assert found.found["max_iter"] == 50
    assert found.chosen == {"max_iter": 50, **found.found}
    assert found.covers(found) and recipe.covers(found) and not found.covers(recipe)
    assert searched(recipe, seed=1)[1].parameters != first[1].parameters


def test_a_smaller_budget_tries_the_first_of_the_same_recipes() -> None:
    many = trials.drawn(SearchSpec(space=SPACE, trials=20), 3)
    assert trials.drawn(SearchSpec(space=SPACE, trials=6), 3) == many[:5]
    assert trials.drawn(SearchSpec(space=SPACE, trials=1), 3) == []


def test_what_is_drawn_lies_within_its_range() -> None:
    space = {
        "share": Range(low=0.2, high=0.4),
        "rate": Range(low=0.001, high=1.0, log=True),
        "count": Range(low=2, high=4),
        "many": Range(low=1, high=1000, log=True),
        "kind": ["a", "b"],
    }
    drawn = pd.DataFrame(trials.drawn(SearchSpec(space=space, trials=400), 0))
    assert drawn["share"].between(0.2, 0.4).all()
    assert drawn["rate"].between(0.001, 1).all() and 0.2 < (drawn["rate"] < 0.01).mean() < 0.45
    assert sorted(drawn["count"].unique()) == [2, 3, 4]
    assert drawn["many"].between(1, 1000).all() and (drawn["many"] < 32).mean() == pytest.approx(0.5, abs=0.1)
    assert all(isinstance(value, int) for value in drawn["many"].tolist())
    assert set(drawn["kind"]) == {"a", "b"}


def test_a_hopeless_recipe_is_given_up_after_the_first_fold() -> None:
    rows = frame(300)
    centre = float(rows["y"].mean())
    recipe = slow({"constant": [centre + 1000]}, {"constant": centre}, trials=2)
    known, other = searched(recipe, rows=rows)
    assert (known.folds, other.folds) == (trials.FOLDS, 1)
    assert other.loss > 900
    assert trials.best(recipe, [known, other]).found == {}


def test_no_trial_starts_that_would_end_after_the_budget() -> None:
    centre = float(frame(300)["y"].mean())
    space = {"constant": Range(low=centre - 0.01, high=centre + 0.01)}
    recipe = slow(space, {"constant": centre, "seconds": 0.1}, trials=500, seconds=2.0)
    began = time.monotonic()
    done = searched(recipe)
    # a trial is three fits of 0.1 s: at least one a core in the time that is left, and never 500
    assert 3 <= len(done) < 40
    assert time.monotonic() - began < 2.0 + 1.0


def test_groups_are_held_out_together() -> None:
    groups = np.repeat(np.arange(30), 10)
    for fold in trials.folds(300, groups, seed=0):
        assert not set(groups[fold.learned]) & set(groups[fold.held])
        assert len(fold.learned) + len(fold.held) == 300
    assert [f.held.tolist() for f in trials.folds(90, None, 0)] != [f.held.tolist() for f in trials.folds(90, None, 1)]


def test_a_pipeline_s_first_steps_are_made_once_where_trials_share_them() -> None:
    parameters = {"max_iter": 20, "longitude": "a", "latitude": "b"}
    recipe = CandidateSpec(name="near", estimator="ml.recipes.neighbours.gradient_boosting", parameters=parameters)
    rows = frame(300)
    target = rows["y"].to_numpy()
    fits = trials.FoldFits(recipe, rows[["a", "b"]], trials.Question(target), trials.folds(300, None, 0), 0)
    known, bound = fits.known()
    shared = fits.trial(1, {"learning_rate": 0.2}, np.inf)
    assert len(fits.shared) == trials.FOLDS
    fits.shared = []
    assert fits.trial(1, {"learning_rate": 0.2}, np.inf).loss == shared.loss
    assert bound > 0 and known.loss != shared.loss


def test_a_space_that_the_estimator_does_not_know_is_an_error() -> None:
    with pytest.raises(EstimatorError, match=r"candidate boosting: .* unexpected keyword argument 'leaves'"):
        searched(boosting({"leaves": [1, 2]}, trials=3))


def test_a_recipe_that_fails_is_a_trial_that_failed_and_the_search_goes_on() -> None:
    how = ["fit", "nan", "predict", "everything"]
    recipe = CandidateSpec(
        name="mine", estimator="tests.ml.learning.unruly.Unruly", search=SearchSpec(space={"how": how}, trials=5)
    )
    said: list[str] = []
    rows = frame(300)
    found = trials.search(recipe, rows[["a", "b"]], trials.Question(rows["y"].to_numpy()), None, 0, said.append)
    by_how = {trial.parameters.get("how", ""): trial for trial in found}
    assert {name: (trial.loss < np.inf, trial.folds, trial.failed) for name, trial in by_how.items()} == {
        "": (True, 3, ""),
        "everything": (True, 3, ""),
        "fit": (False, 0, "KeyError: 'no such thing'"),
        "nan": (False, 0, "it predicts NaN, infinity or beyond 1e+150 in 1 of 100 rows"),
        "predict": (False, 0, "it cannot predict: RuntimeError: nobody taught me"),
    }
    assert trials.best(recipe, found).found == {}  # all the same: the known one
    assert len([one for one in said if "of budget; it failed: KeyError: 'no such thing', best " in one]) == 1


def test_a_known_recipe_that_fails_cannot_be_searched() -> None:
    recipe = CandidateSpec(
        name="mine",
        estimator="tests.ml.learning.unruly.Unruly",
        parameters={"how": "fit"},
        search=SearchSpec(space={"rows": [1, 2]}, trials=2),
    )
    with pytest.raises(EstimatorError, match=r"^candidate mine cannot be searched: KeyError: 'no such thing'\.$"):
        searched(recipe)
