"""A search with a budget: recipes drawn from a candidate's space, each held out on folds of its own, the best kept."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import delayed
from scipy.stats import loguniform, randint, uniform
from sklearn.model_selection import GroupKFold, KFold, ParameterSampler
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml.arrays import Integers, Vector
from ml.learning.candidates import EstimatorError, estimator, predictions, said
from ml.learning.encoding import Encoding
from ml.learning.periods import Periods
from ml.learning.scratch import scratch
from ml.learning.workers import workers
from ml.progress import Say, sentence
from ml.spec import CandidateSpec, Range, SearchSpec

# Fewer than judging has: a trial costs a fit a fold, and the trials are compared on the same rows.
FOLDS = 3
# The share by which a recipe's error on the first fold may be worse than the known one's. Beyond it, the recipe is not
# tried on the other folds: recipes tried by hand on this project's data lay within 2 % of each other.
STOP_MARGIN = 0.02


@dataclass(frozen=True)
class Trial:
    """One recipe tried.

    Attributes:
        number: 0 is the recipe that is known; the others are in the order in which they were drawn.
        parameters: What was drawn.
        rmse: Of the held-out rows of the folds that were tried, in the target's unit; infinite where it failed.
        folds: The number of folds that were tried: all, one where the recipe was stopped, or none where it failed.
        seconds: The time that it took.
        failed: Why the recipe cannot be fitted, or does not predict; empty where it can and does.
    """

    number: int
    parameters: dict[str, Any]
    rmse: float
    folds: int
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows to hold out, by position."""

    learned: npt.NDArray[np.intp]
    held: npt.NDArray[np.intp]


def search(
    recipe: CandidateSpec,
    features: pd.DataFrame,
    target: Vector,
    groups: npt.NDArray[Any] | None,
    seed: int,
    say: Say,
    encoding: Encoding | None = None,
    dealt: Sequence[Fold] = (),
) -> list[Trial]:
    """Try recipes until the trials or the seconds are used up, one on each core; the same seed draws the same recipes.

    The known recipe is the first, so the best is never worse than it on these folds.

    Args:
        recipe: With its space and budget.
        features: Shape (rows, features).
        target: Shape (rows,).
        groups: Of each row, shape (rows,): rows of a group are held out in the same fold; None where each row is its
            own.
        encoding: How the estimator takes the features; None as they are.
        dealt: Other folds than those of chance or of groups, as those of time.

    Raises:
        EstimatorError: The known recipe fails, or the space names a parameter that the estimator does not take.
    """
    asked = recipe.search
    assert asked is not None, f"{recipe.name} has nothing to search"
    fits = FoldFits(recipe, features, target, list(dealt) or folds(len(target), groups, seed), seed, encoding)
    began = time.monotonic()
    known, bound = fits.known()
    trials = [known]
    _say(say, recipe, trials, asked, began)

    def within_budget() -> Iterator[Callable[[], Trial]]:
        for number, parameters in enumerate(drawn(asked, seed), start=1):
            slowest = max(trial.seconds for trial in trials)
            if time.monotonic() - began + slowest > asked.seconds:
                return
            yield delayed(fits.trial)(number, parameters, bound)

    for trial in workers(len(target))(within_budget()):
        trials.append(trial)
        _say(say, recipe, trials, asked, began)
    return trials


def best(recipe: CandidateSpec, trials: list[Trial]) -> CandidateSpec:
    """The recipe with the best parameters; the known recipe where none was better."""
    tried = [trial for trial in trials if trial.folds == trials[0].folds]
    winner = min(tried, key=lambda trial: (trial.rmse, trial.number))
    return recipe.model_copy(update={"found": {**recipe.found, **winner.parameters}})


def drawn(asked: SearchSpec, seed: int) -> list[dict[str, Any]]:
    """The recipes to try after the known one, in order; a smaller number of trials draws the first of them."""
    space = {name: _distribution(values) for name, values in asked.space.items()}
    sampler = ParameterSampler(space, n_iter=max(asked.trials - 1, 1), random_state=seed)
    plain = [{name: _plain(value) for name, value in parameters.items()} for parameters in sampler]
    return plain[: asked.trials - 1]


def folds(rows: int, groups: npt.NDArray[Any] | None, seed: int) -> list[Fold]:
    """Deal rows, or groups of rows, to folds; not to those of judging, which a search must not fit."""
    if groups is not None:
        splitter = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    else:
        splitter = KFold(FOLDS, shuffle=True, random_state=seed)
    return [Fold(learned, held) for learned, held in splitter.split(np.empty(rows), groups=groups)]


def folds_by_time(times: Integers, cut: Periods) -> list[Fold]:
    """Rows of each period but the first, held out from those before it; rows of shape (rows,) by their times."""
    period = cut.of(times)
    dealt = [Fold(np.flatnonzero(cut.learned(n, times)), np.flatnonzero(period == n)) for n in cut.folds]
    return [fold for fold in dealt if len(fold.learned) and len(fold.held)]


class FoldFits:
    """Fits trials on the folds; the steps before a pipeline's last are fitted once where trials share them."""

    def __init__(
        self,
        recipe: CandidateSpec,
        features: pd.DataFrame,
        target: Vector,
        folds: list[Fold],
        seed: int,
        encoding: Encoding | None = None,
    ) -> None:
        self.recipe, self.features, self.target, self.folds, self.seed = recipe, features, target, folds, seed
        self.encoding = encoding
        self.steps = _steps(self._estimator({}))
        self.shared: list[tuple[Any, Any]] = []

    def known(self) -> tuple[Trial, float]:
        """Fit the known recipe on every fold, a fold a core; the trial, and the RMSE on the first that stops others."""
        began = time.monotonic()
        numbers = range(len(self.folds))
        try:
            if self.steps:
                self.shared = list(workers(len(self.target))(delayed(self.before_last)(fold) for fold in self.folds))
            errors = list(workers(len(self.target))(delayed(self.squared_errors)(number, {}) for number in numbers))
        except (BrokenProcessPool, MemoryError):
            raise
        except Exception as error:  # anybody's code
            raise EstimatorError(f"candidate {self.recipe.name} cannot be searched: {said(error)}.") from error
        return Trial(0, {}, _root(errors), len(errors), time.monotonic() - began), _root(errors[:1]) * (1 + STOP_MARGIN)

    def trial(self, number: int, parameters: Mapping[str, Any], bound: float) -> Trial:
        """Fit a recipe on each fold, or on the first alone if its RMSE there is above the bound."""
        began = time.monotonic()
        self._estimator(parameters)
        try:
            errors = [self.squared_errors(0, parameters)]
            if _root(errors) <= bound:
                errors += [self.squared_errors(fold, parameters) for fold in range(1, len(self.folds))]
        except Exception as error:  # noqa: BLE001 (anybody's code, with parameters that nobody tried before)
            return Trial(number, dict(parameters), math.inf, 0, time.monotonic() - began, said(error))
        return Trial(number, dict(parameters), _root(errors), len(errors), time.monotonic() - began)

    def before_last(self, fold: Fold) -> tuple[Any, Any]:
        """What the known recipe's last step learns from, and what it predicts from."""
        first = self._estimator({})[:-1]
        with threadpool_limits(limits=1), scratch():
            learned = first.fit_transform(self.features.iloc[fold.learned], self.target[fold.learned])
            return learned, first.transform(self.features.iloc[fold.held])

    def squared_errors(self, number: int, parameters: Mapping[str, Any]) -> Vector:
        """Of the held-out rows of a fold, shape (held rows,)."""
        fold, made = self.folds[number], self._estimator(parameters)
        learned, held = self.features.iloc[fold.learned], self.features.iloc[fold.held]
        if self.shared and _steps(made) == self.steps:
            (learned, held), made = self.shared[number], made[-1]
        with threadpool_limits(limits=1), scratch():
            predicted = predictions(made.fit(learned, self.target[fold.learned]), held)
        squared: Vector = np.square(self.target[fold.held] - predicted)
        return squared

    def _estimator(self, parameters: Mapping[str, Any]) -> Any:
        asked = self.recipe.model_copy(update={"found": {**self.recipe.found, **parameters}})
        return estimator(asked, self.seed, self.encoding)


def _root(squared_errors: list[Vector]) -> float:
    return float(np.sqrt(np.concatenate(squared_errors).mean()))


def _steps(made: Any) -> str | None:
    """A hash of a pipeline's steps before the last; None where there are none."""
    return str(joblib.hash(made[:-1])) if isinstance(made, Pipeline) and len(made) > 1 else None


def _distribution(values: list[Any] | Range) -> Any:
    if isinstance(values, list):
        return values
    whole = isinstance(values.low, int) and isinstance(values.high, int)
    if values.log:
        return loguniform(values.low, values.high) if not whole else _Rounded(values.low, values.high)
    return randint(values.low, values.high + 1) if whole else uniform(values.low, values.high - values.low)


@dataclass(frozen=True)
class _Rounded:
    """Whole numbers, evenly by ratio."""

    low: float
    high: float

    def rvs(self, random_state: Any = None) -> int:
        return round(float(loguniform(self.low, self.high).rvs(random_state=random_state)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _say(say: Say, recipe: CandidateSpec, trials: list[Trial], asked: SearchSpec, began: float) -> None:
    now, least = trials[-1], min(trial.rmse for trial in trials if trial.folds == trials[0].folds)
    seconds = time.monotonic() - began
    progress = sentence(f"searching {recipe.name}", len(trials), asked.trials, seconds, "trials")
    came = f"it failed: {now.failed}" if now.failed else f"RMSE {now.rmse:,.4g}"
    say(f"{progress}, or {max(asked.seconds - seconds, 0):,.0f} s of budget; {came}, best {least:,.4g}")
