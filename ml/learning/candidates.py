"""The recipes that may compete: ridge from the sums of all rows, most others from a sample of rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml import memory
from ml.arrays import Matrix, Vector
from ml.backends import WorkersError
from ml.classes import array as classes_array
from ml.learning.fits import EstimatorError, fit, hold_out, probabilities, said
from ml.learning.published import CODE
from ml.learning.sampling import WEIGHT
from ml.learning.training_set import TrainingSet
from ml.learning.unfitted import estimator
from ml.learning.workers import AtWork, workers
from ml.linear import logistic, ridge
from ml.progress import Progress, Say, following
from ml.spec import ALL_ROWS, BINNED, LOGISTIC, RIDGE, CandidateSpec

if TYPE_CHECKING:
    from ml.learning.binned import Binned

ALPHAS = np.logspace(-3, 1, 30)
# Steps that scikit-learn's solver may take; on standardized columns it needs few.
LOGISTIC_STEPS = 1_000


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator, what fitting chose, by name, and what a person should know of it."""

    estimator: Any
    parameters: dict[str, Any]
    notes: tuple[str, ...] = ()


class Candidate(Protocol):
    """One recipe on one training set."""

    name: str

    def held_out(self, split: str) -> Matrix:
        """Predictions of the sampled rows, each by a fit that has not seen the row's fold: of numbers, shape (rows,);
        of classes their probabilities, shape (rows, classes), which are not calibrated yet.

        Where the split is by time, nor what came after; NaN of the first period, before which there is nothing.

        Raises:
            EstimatorError: It cannot be fitted, or does not predict.
        """

    def fit(self) -> Fitted:
        """The recipe fitted on everything.

        Raises:
            EstimatorError: It cannot be fitted.
        """


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
        predicted = np.full(len(fold), np.nan)
        for number in training.folds(split):
            others = training.others(split, number)
            alpha = ALPHAS[int(np.argmin(ridge.generalized_errors(others, ALPHAS, training.terms)))]
            pipeline = ridge.fit_moments(others, float(alpha), training.terms)
            if (held := fold == number).any():
                predicted[held] = pipeline.predict(training.features[held])
        return predicted

    def fit(self) -> Fitted:
        """See `Candidate`."""
        training = self.training
        exposure, whole = training.exposure, training.served
        if exposure.spec.alpha_by == "folds":
            split = exposure.spec.split
            held = {number: training.moments[split][number] for number in training.folds(split)}
            errors = ridge.fold_errors(held, ALPHAS, training.terms, training.before).mean(axis=0)
        else:
            with (
                named(self, (duckdb.OutOfMemoryException, MemoryError)),
                following(self.con, self.say, "leaving one out", whole.n),
            ):
                errors = ridge.left_out_errors(
                    training.engine or self.con,
                    training.served_table,
                    training.terms,
                    exposure.spec.target,
                    whole,
                    ALPHAS,
                    training.weight,
                )
        fitted = ridge.chosen(whole, training.terms, ALPHAS, errors)
        return Fitted(fitted.pipeline, {"alpha": fitted.alpha}, fitted.notes)


class Logistic:
    """Logistic regression of two classes on standardized columns, fitted to all rows by scans of the warehouse.

    All fits of a split, one for each fold without its rows, advance by the same scans, and the one that serves with
    those of the spec's split: the other split is judged later, and its fits are not made before. The penalty is
    scikit-learn's own, C = 1: where rows are many it decides nothing, and where they are few each other C that is tried
    would add a fit for each fold.
    """

    def __init__(self, name: str, con: duckdb.DuckDBPyConnection, training: TrainingSet, say: Say) -> None:
        self.name, self.con, self.training, self.say = name, con, training, say
        self.made: dict[str, dict[int | None, logistic.LogisticFit]] = {}

    def held_out(self, split: str) -> Matrix:
        """See `Candidate`."""
        training, fold = self.training, self.training.fold(split)
        predicted = np.full((len(fold), len(training.classes)), np.nan)
        for number in training.folds(split):
            if not (held := fold == number).any():
                continue
            fitted = self._fits(split).get(number)
            if fitted is None:  # it learned from one class alone
                predicted[held] = np.eye(2)[round(float(training.others(split, number).mean[-1]))]
                continue
            with threadpool_limits(limits=1), named(self):
                predicted[held] = probabilities(fitted.pipeline, training.features[held], training.classes)
        return predicted

    def fit(self) -> Fitted:
        """See `Candidate`."""
        fitted = self._fits(self.training.exposure.spec.split)[None]
        return Fitted(fitted.pipeline, {"C": logistic.C, "steps": fitted.steps}, fitted.notes)

    def _fits(self, split: str) -> dict[int | None, logistic.LogisticFit]:
        """Those that are judged by a fold of the split and know both classes, and of the spec's split, as None, the one
        that serves.
        """
        if split not in self.made:
            self.made[split] = self._fitted(split)
        return self.made[split]

    def _fitted(self, split: str) -> dict[int | None, logistic.LogisticFit]:
        training = self.training
        asked: dict[int | None, logistic.Training] = {}
        if split == training.exposure.spec.split:
            asked[None] = logistic.Training(training.served, training.served_cells)
        for number in training.folds(split):
            others = training.others(split, number)
            if logistic.has_both_classes(others):
                asked[number] = logistic.Training(others, training.learned_cells(split, number))
        if not asked:
            return {}
        with named(self), following(self.con, self.say, f"fitting {self.name}", training.whole.n):
            found = logistic.fit_cells(
                training.engine or self.con,
                training.folded,
                training.terms,
                CODE,
                training.cell,
                list(asked.values()),
                weight=training.weight,
                classes=classes_array(training.classes),
            )
        return dict(zip(asked, found, strict=True))


class FromRows:
    """Any scikit-learn regressor or classifier, fitted on the sampled rows.

    Args:
        expected: Whether it will serve, as far as one can tell: then the fit that serves is made beside those that
            judge it by the spec's split. After five fits on two cores, one core would wait, and then the other.
    """

    def __init__(
        self,
        name: str,
        con: duckdb.DuckDBPyConnection,
        estimator: Any,
        training: TrainingSet,
        say: Say,
        expected: bool = False,
    ) -> None:
        self.name, self.con, self.estimator, self.training, self.say = name, con, estimator, training, say
        self.expected = expected
        self.made: list[Any] = []

    def held_out(self, split: str) -> Matrix:
        """See `Candidate`."""
        training, fold, weights = self.training, self.training.fold(split), self.training.weights

        def hold(number: int) -> Any:
            learned, held = training.learned(split, number), fold == number
            return delayed(hold_out)(
                self.estimator, training.features, training.answers, learned, held, training.classes, weights
            )

        with named(self):
            return by_folds(
                self, split, workers(len(fold)), hold, lambda: delayed(fit)(self.estimator, *self._served())
            )

    def fit(self) -> Fitted:
        """See `Candidate`."""
        if not self.made:
            with named(self):
                self.made.append(fit(self.estimator, *self._served()))
        return Fitted(self.made[0], {"rows": len(self.training.served_sample)}, self._notes())

    def _notes(self) -> tuple[str, ...]:
        """That it has seen a sample where the spec asks for all rows."""
        training = self.training
        rows, learned = training.served.n, len(training.served_sample)
        if training.exposure.spec.max_rows != ALL_ROWS or learned == rows:
            return ()
        return (
            f"{self.name} learned from a sample of {learned:,} of {rows:,} rows, as it holds what it learns from: of "
            f"{' and '.join(BINNED)}, meta.ml.max_rows: {ALL_ROWS} is true",
        )

    def _served(self) -> tuple[pd.DataFrame, "pd.Series[float]", Vector | None]:
        training = self.training
        served = training.served_sample
        weights = None if training.weight is None else served[WEIGHT].to_numpy(np.float64)
        return served[list(training.exposure.features)], training.answers.loc[served.index], weights


def by_folds(
    candidate: "FromRows | Binned",
    split: str,
    at_work: AtWork,
    hold: Callable[[int], Any],
    serve: Callable[[], Any],
) -> Matrix:
    """What fits predict of the folds that they have not seen; beside them the fit that serves, where it is expected.

    Args:
        at_work: What does the tasks, in their order.
        hold: The task of a fold.
        serve: The task of the fit that serves, whose result goes to `candidate.made`.
    """
    training, fold = candidate.training, candidate.training.fold(split)
    predicted = np.full((len(fold), len(training.classes)) if training.classes else len(fold), np.nan)
    numbers = np.intersect1d(fold, training.folds(split))
    progress = Progress(candidate.say, f"judging {candidate.name} on {split} folds", len(numbers), "folds")
    beside = candidate.expected and split == training.exposure.spec.split and not candidate.made

    def tasks() -> Iterator[Any]:
        if beside:  # first: it has the most rows
            yield serve()
        for number in numbers:
            yield hold(int(number))

    results = at_work(tasks())
    if beside:
        candidate.made.append(next(results))
    for number, values in zip(numbers, results, strict=True):
        predicted[fold == number] = values
        progress.advance(1)
    return predicted


@contextmanager
def named(
    candidate: "Ridge | Logistic | FromRows | Binned", expected: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Say whose an error is: it may come of anybody's code, of a worker that was killed, of memory that ran out."""
    try:
        yield
    except WorkersError:  # no candidate's: none is left out for it
        raise
    except expected as error:
        why = memory.ran_out(error, candidate.con, candidate.training.exposure)
        if why is None:
            why = f"{error}." if isinstance(error, EstimatorError) else f"it cannot be fitted: {said(error)}."
        raise EstimatorError(f"candidate {candidate.name}: {why}") from error


def build(
    spec: CandidateSpec, con: duckdb.DuckDBPyConnection, training: TrainingSet, say: Say, expected: bool = False
) -> Candidate:
    """The candidate that a spec names.

    Args:
        expected: As of `FromRows`.

    Raises:
        EstimatorError: Its estimator cannot be imported, does not take its parameters, or cannot do the task.
    """
    if spec.name == RIDGE:
        return Ridge(spec.name, con, training, say)
    if spec.name == LOGISTIC and len(training.classes) == 2:
        return Logistic(spec.name, con, training, say)
    exposure = training.exposure
    if exposure.spec.max_rows == ALL_ROWS and spec.path(exposure.task) in BINNED:
        made = estimator(spec, exposure.spec.seed, None, exposure.task)
        from ml.learning.binned import Binned  # LightGBM, an extra, is there, as the estimator is

        return Binned(spec.name, con, made, training, say, expected)
    if spec.name == LOGISTIC:
        several = make_pipeline(StandardScaler(), LogisticRegression(C=logistic.C, max_iter=LOGISTIC_STEPS))
        made = training.encoding.before(spec.name, several) if training.encoding else several
    else:
        made = estimator(spec, exposure.spec.seed, training.encoding, exposure.task)
    return FromRows(spec.name, con, made, training, say, expected)
