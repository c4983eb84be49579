"""A search with a budget: recipes drawn from a candidate's space, each held out on folds of its own, the best kept."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
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

from ml.arrays import Integers, Matrix, Vector
from ml.backends import WorkersError
from ml.classes import Class, positive
from ml.learning import measures
from ml.learning.encoding import Encoding
from ml.learning.fits import EstimatorError, predictions, probabilities, said, suited, weighed
from ml.learning.periods import Periods
from ml.learning.scratch import scratch
from ml.learning.training_set import TrainingSet
from ml.learning.unfitted import estimator
from ml.learning.workers import workers
from ml.metrics import Task, loss, loss_name
from ml.progress import Say, sentence
from ml.spec import CandidateSpec, Range, SearchSpec
from ml.weights import taken

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
        loss: By the metric, of the held-out rows of the folds that were tried; infinite where it failed, or where they
            have none.
        folds: The number of folds that were tried: all, one where the recipe was stopped, or none where it failed.
        seconds: The time that it took.
        failed: Why the recipe cannot be fitted, or does not predict; empty where it can and does.
    """

    number: int
    parameters: dict[str, Any]
    loss: float
    folds: int
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows to hold out, by position."""

    learned: npt.NDArray[np.intp]
    held: npt.NDArray[np.intp]


@dataclass(frozen=True)
class Question:
    """What is predicted of rows, and how what is predicted is measured.

    Attributes:
        answers: As estimators learn them, shape (rows,): numbers, or classes.
        metric: What trials are compared by.
        classes: Rising; none of numbers.
        codes: The places of the answers among the classes, shape (rows,).
        positive: Of two classes, the place of the one that is ranked; None of more.
        weights: What each row counts, shape (rows,); None where each counts once.
    """

    answers: npt.NDArray[Any]
    metric: str = "rmse"
    classes: tuple[Class, ...] = ()
    codes: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    positive: int | None = None
    weights: Vector | None = None

    @classmethod
    def of(cls, training: TrainingSet) -> "Question":
        """The training set's."""
        exposure, classes = training.exposure, training.classes
        answers = training.answers.to_numpy()
        if not classes:
            return cls(np.asarray(answers, np.float64), exposure.metric, weights=training.weights)
        asked = positive(exposure.spec.positive, classes)
        place = None if asked is None else classes.index(asked)
        return cls(answers, exposure.metric, classes, training.codes, place, training.weights)

    def predictions(self, fitted: Any, features: Any) -> Matrix:
        """What a fitted estimator says: numbers, shape (rows,), or probabilities, shape (rows, classes)."""
        return probabilities(fitted, features, self.classes) if self.classes else predictions(fitted, features)

    def loss(self, rows: Sequence[npt.NDArray[np.intp]], predicted: Sequence[Matrix]) -> float:
        """Of all rows that are given by their positions, in parts, with what is predicted of each part."""
        of, said = np.concatenate(rows), np.concatenate(predicted)
        if self.classes:
            measured = measures.of_classes(self.codes[of], said, self.positive, self.weights_of(of))
            value = measured.get(self.metric, math.nan)
            return math.inf if math.isnan(value) else loss(self.metric, value)
        errors = np.abs(self.answers[of] - said)
        losses = errors if self.metric == "mae" else np.square(errors)
        mean = float(np.average(losses, weights=self.weights_of(of)))
        return mean if self.metric == "mae" else math.sqrt(mean)

    def weights_of(self, rows: npt.NDArray[np.intp]) -> Vector | None:
        """What rows count that are given by their positions; None where each counts once."""
        return taken(self.weights, rows)


def search(
    recipe: CandidateSpec,
    features: pd.DataFrame,
    question: Question,
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
        question: Of the same rows.
        groups: Of each row, shape (rows,): rows of a group are held out in the same fold; None where each row is its
            own.
        encoding: How the estimator takes the features; None as they are.
        dealt: Other folds than those of chance or of groups, as those of time.

    Raises:
        EstimatorError: The known recipe fails, or the space names a parameter that the estimator does not take.
    """
    asked = recipe.search
    assert asked is not None, f"{recipe.name} has nothing to search"
    rows = len(question.answers)
    fits = FoldFits(recipe, features, question, list(dealt) or folds(rows, groups, seed), seed, encoding)
    began = time.monotonic()
    known, bound = fits.known()
    trials = [known]
    _say(say, recipe, trials, question.metric, began)

    def within_budget() -> Iterator[Callable[[], Trial]]:
        for number, parameters in enumerate(drawn(asked, seed), start=1):
            slowest = max(trial.seconds for trial in trials)
            if time.monotonic() - began + slowest > asked.seconds:
                return
            yield delayed(fits.trial)(number, parameters, bound)

    for trial in workers(rows)(within_budget()):
        trials.append(trial)
        _say(say, recipe, trials, question.metric, began)
    return trials


def best(recipe: CandidateSpec, trials: list[Trial]) -> CandidateSpec:
    """The recipe with the best parameters; the known recipe where none was better."""
    tried = [trial for trial in trials if trial.folds == trials[0].folds]
    winner = min(tried, key=lambda trial: (trial.loss, trial.number))
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
        question: Question,
        folds: list[Fold],
        seed: int,
        encoding: Encoding | None = None,
    ) -> None:
        self.recipe, self.features, self.question, self.folds, self.seed = recipe, features, question, folds, seed
        self.encoding = encoding
        self.steps = _steps(self._estimator({}))
        self.shared: list[tuple[Any, Any]] = []

    def known(self) -> tuple[Trial, float]:
        """Fit the known recipe on every fold, a fold a core; the trial, and the loss on the first that stops others."""
        began = time.monotonic()
        numbers, rows = range(len(self.folds)), len(self.question.answers)
        try:
            if self.steps:
                self.shared = list(workers(rows)(delayed(self.before_last)(fold) for fold in self.folds))
            found = list(workers(rows)(delayed(self.held_out)(number, {}) for number in numbers))
        except (BrokenProcessPool, MemoryError, WorkersError):
            raise
        except Exception as error:  # anybody's code
            raise EstimatorError(f"candidate {self.recipe.name} cannot be searched: {said(error)}.") from error
        return Trial(0, {}, self._loss(found), len(found), time.monotonic() - began), self._bound(found)

    def trial(self, number: int, parameters: Mapping[str, Any], bound: float) -> Trial:
        """Fit a recipe on each fold, or on the first alone if its loss there is above the bound."""
        began = time.monotonic()
        self._estimator(parameters)
        try:
            found = [self.held_out(0, parameters)]
            if self._loss(found) <= bound:
                found += [self.held_out(fold, parameters) for fold in range(1, len(self.folds))]
        except Exception as error:  # noqa: BLE001 (anybody's code, with parameters that nobody tried before)
            return Trial(number, dict(parameters), math.inf, 0, time.monotonic() - began, said(error))
        return Trial(number, dict(parameters), self._loss(found), len(found), time.monotonic() - began)

    def _loss(self, found: Sequence[Matrix]) -> float:
        """Of what is predicted of the rows of the first folds."""
        return self.question.loss([fold.held for fold in self.folds[: len(found)]], found)

    def _bound(self, found: Sequence[Matrix]) -> float:
        return self._loss(found[:1]) * (1 + STOP_MARGIN)

    def before_last(self, fold: Fold) -> tuple[Any, Any]:
        """What the known recipe's last step learns from, and what it predicts from."""
        first = self._estimator({})[:-1]
        with threadpool_limits(limits=1), scratch():
            learned = first.fit_transform(self.features.iloc[fold.learned], self.question.answers[fold.learned])
            return learned, first.transform(self.features.iloc[fold.held])

    def held_out(self, number: int, parameters: Mapping[str, Any]) -> Matrix:
        """What is predicted of the held-out rows of a fold: numbers, shape (held rows,), or probabilities."""
        fold, made = self.folds[number], self._estimator(parameters)
        learned, held = self.features.iloc[fold.learned], self.features.iloc[fold.held]
        if self.shared and _steps(made) == self.steps:
            (learned, held), made = self.shared[number], made[-1]
        with threadpool_limits(limits=1), scratch():
            answers = self.question.answers[fold.learned]
            made = suited(made, answers)
            weights = weighed(made, self.question.weights_of(fold.learned))
            return self.question.predictions(made.fit(learned, answers, **weights), held)

    def _estimator(self, parameters: Mapping[str, Any]) -> Any:
        asked = self.recipe.model_copy(update={"found": {**self.recipe.found, **parameters}})
        task: Task = "classification" if self.question.classes else "regression"
        return estimator(asked, self.seed, self.encoding, task)


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


def _say(say: Say, recipe: CandidateSpec, trials: list[Trial], metric: str, began: float) -> None:
    asked = recipe.search
    assert asked is not None
    now, least = trials[-1], min(trial.loss for trial in trials if trial.folds == trials[0].folds)
    seconds = time.monotonic() - began
    progress = sentence(f"searching {recipe.name}", len(trials), asked.trials, seconds, "trials")
    came = f"it failed: {now.failed}" if now.failed else f"{loss_name(metric)} {now.loss:,.4g}"
    say(f"{progress}, or {max(asked.seconds - seconds, 0):,.0f} s of budget; {came}, best {least:,.4g}")
