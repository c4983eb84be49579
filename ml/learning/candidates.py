"""The recipes that may compete: ridge from the sums of all rows, any other regressor from a sample of rows."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import delayed
from sklearn.base import clone, is_regressor
from threadpoolctl import threadpool_limits

from ml.arrays import Vector
from ml.errors import TractError
from ml.learning.training_set import TrainingSet
from ml.learning.workers import workers
from ml.linear import ridge
from ml.linear.leave_one_out import loo_errors
from ml.linear.moments import complement
from ml.progress import Progress, Say, following
from ml.spec import ESTIMATORS, RIDGE, CandidateSpec

ALPHAS = np.logspace(-3, 1, 30)


class EstimatorError(TractError):
    """A candidate's estimator cannot be built; the message names candidate, path and what is wrong."""


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, what fitting chose, by name, and what a person should know of it."""

    estimator: Any
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()


class Candidate(Protocol):
    """One recipe on one training set."""

    name: str

    def held_out(self, split: str) -> Vector:
        """Predictions of the sampled rows, shape (rows,), each by a fit that has not seen the row's fold."""

    def fit(self) -> Fitted:
        """The recipe fitted on everything."""


class Ridge:
    """Ridge regression on standardized columns, from the sums of all rows; no row is pulled but to be judged.

    The penalty that serves is chosen by leave-one-out error, as `RidgeCV` does, or by the error over the folds of the
    spec's split (`alpha_by`). Held-out fits know their training folds by the sums alone, and choose theirs by
    generalized cross-validation.
    """

    def __init__(self, name: str, con: duckdb.DuckDBPyConnection, training: TrainingSet, say: Say) -> None:
        self.name, self.con, self.training, self.say = name, con, training, say

    def held_out(self, split: str) -> Vector:
        """See `Candidate`."""
        training, fold = self.training, self.training.fold(split)
        predicted = np.empty(len(fold))
        for number in training.moments[split]:
            others = complement(training.moments[split], number)
            alpha = ALPHAS[int(np.argmin(ridge.generalized_errors(others, ALPHAS)))]
            pipeline = ridge.fit_moments(others, float(alpha), training.exposure.features)
            if (held := fold == number).any():
                predicted[held] = pipeline.predict(training.features[held])
        return predicted

    def fit(self) -> Fitted:
        """See `Candidate`."""
        training = self.training
        exposure, whole = training.exposure, training.whole
        if exposure.spec.alpha_by == "folds":
            errors = ridge.fold_errors(training.moments[exposure.spec.split], ALPHAS).mean(axis=0)
        else:
            with following(self.con, self.say, "leaving one out", whole.n):
                errors = loo_errors(
                    self.con, training.publication.table, exposure.features, exposure.spec.target, whole, ALPHAS
                )
        fitted = ridge.chosen(whole, exposure.features, ALPHAS, errors)
        return Fitted(fitted.pipeline, {"alpha": fitted.alpha}, fitted.notes)


class FromRows:
    """Any scikit-learn regressor, fitted on the sampled rows."""

    def __init__(self, name: str, estimator: Any, training: TrainingSet, say: Say) -> None:
        self.name, self.estimator, self.training, self.say = name, estimator, training, say

    def held_out(self, split: str) -> Vector:
        """See `Candidate`."""
        training, fold = self.training, self.training.fold(split)
        predicted = np.empty(len(fold))
        numbers = np.unique(fold)
        progress = Progress(self.say, f"judging {self.name} on {split} folds", len(numbers), "folds")

        tasks = (
            delayed(hold_out)(self.estimator, training.features, training.target, fold == number) for number in numbers
        )
        with self._named():
            for number, values in zip(numbers, workers(len(fold))(tasks), strict=True):
                predicted[fold == number] = values
                progress.advance(1)
        return predicted

    def fit(self) -> Fitted:
        """See `Candidate`."""
        with self._named():
            fitted = fit(self.estimator, self.training.features, self.training.target)
        return Fitted(fitted, {"rows": len(self.training.sample)})

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Scikit-learn looks at values of parameters when it fits, and does not know whose they are."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise EstimatorError(f"candidate {self.name} cannot be fitted: {error}") from error


def fit(estimator: Any, features: pd.DataFrame, target: "pd.Series[float]") -> Any:
    """The estimator fitted on features of shape (rows, features) and a target of shape (rows,)."""
    # One thread a fit, a fit a core: OpenMP's threads wait for each other in every split of every tree, and on a
    # busy machine 500 rows took 100 s that take 0.2 s alone. The numbers repeat to the bit, too.
    with threadpool_limits(limits=1):
        return clone(estimator).fit(features, target)


def hold_out(estimator: Any, features: pd.DataFrame, target: "pd.Series[float]", held: npt.NDArray[np.bool_]) -> Vector:
    """Predictions of the held rows by a fit on the others, shape (held rows,)."""
    fitted = fit(estimator, features[~held], target[~held])
    with threadpool_limits(limits=1):
        predicted: Vector = fitted.predict(features[held])
    return predicted


def build(spec: CandidateSpec, con: duckdb.DuckDBPyConnection, training: TrainingSet, say: Say) -> Candidate:
    """The candidate that a spec names.

    Raises:
        EstimatorError: Its estimator cannot be imported, does not take its parameters, or is no regressor; from its
            methods also that it cannot be fitted.
    """
    if spec.name == RIDGE:
        return Ridge(spec.name, con, training, say)
    return FromRows(spec.name, estimator(spec, training.exposure.spec.seed), training, say)


def estimator(spec: CandidateSpec, seed: int) -> Any:
    """The unfitted regressor of a candidate; its `random_state`, where it has one, is the spec's seed.

    Raises:
        EstimatorError: As `build`.
    """
    path = spec.estimator or ESTIMATORS[spec.name]
    where = f"candidate {spec.name}: estimator {path}"
    make = _imported(path, where)
    accepted = inspect.signature(make).parameters
    seeded = {"random_state": seed} if "random_state" in accepted and "random_state" not in spec.chosen else {}
    try:
        made = make(**seeded, **spec.chosen)
    except (TypeError, ValueError) as error:
        raise EstimatorError(f"{where}: {error}. Allowed parameters: {', '.join(accepted)}.") from None
    if not is_regressor(made):
        raise EstimatorError(
            f"{where} makes a {type(made).__name__}, which is no regressor. Name a class or function that gives "
            "an unfitted scikit-learn regressor."
        )
    return made


def _imported(path: str, where: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise EstimatorError(
            f"{where} cannot be imported: {error}. Write it as package.module.Name, and install its package."
        ) from None
    return found
