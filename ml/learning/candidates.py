"""The recipes that may compete: ridge from the sums of all rows, most others from a sample of rows."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml import estimators, memory
from ml.arrays import Mask, Matrix, Vector
from ml.backends import WorkersError
from ml.classes import Class
from ml.classes import array as classes_array
from ml.errors import TractError
from ml.lake import first_line
from ml.lake.sql import LARGEST
from ml.learning.encoding import Encoding
from ml.learning.published import CODE
from ml.learning.sampling import WEIGHT
from ml.learning.scratch import scratch
from ml.learning.training_set import TrainingSet
from ml.learning.workers import AtWork, workers
from ml.linear import logistic, ridge
from ml.metrics import Task
from ml.progress import Progress, Say, following
from ml.spec import ALL_ROWS, BINNED, LOGISTIC, RIDGE, CandidateSpec
from ml.weights import taken

if TYPE_CHECKING:
    from ml.learning.binned import Binned

ALPHAS = np.logspace(-3, 1, 30)
# Steps that scikit-learn's solver may take; on standardized columns it needs few.
LOGISTIC_STEPS = 1_000
# What libraries call an estimator's seed, and its number of threads.
SEEDS = ("random_state", "random_seed", "seed")
# By how much probabilities may miss 1 in all: some libraries compute in single precision.
MOST_OFF = 1e-4
THREADS = ("n_jobs", "thread_count", "num_threads", "nthread")


class EstimatorError(TractError):
    """A candidate cannot be built or fitted, or does not predict; the message names it and what is wrong."""


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


def fit(estimator: Any, features: pd.DataFrame, target: "pd.Series[Any]", weights: Vector | None = None) -> Any:
    """The estimator fitted on features of shape (rows, features), a target and perhaps weights of shape (rows,).

    Rows of one class teach a classifier nothing but that class.
    """
    # One thread a fit, a fit a core: OpenMP's threads wait for each other in every split of every tree, and on a
    # busy machine 500 rows took 100 s that take 0.2 s alone. The numbers repeat to the bit, too.
    with threadpool_limits(limits=1), scratch():
        made = suited(clone(estimator), target)
        return made.fit(features, target, **weighed(made, weights))


def weighed(estimator: Any, weights: Vector | None) -> dict[str, Vector]:
    """Weights as an estimator's `fit` takes them: those of a pipeline are its last step's.

    Raises:
        EstimatorError: It takes none.
    """
    if weights is None:
        return {}
    name, last = "", estimator
    while isinstance(last, Pipeline):
        name, last = f"{name}{last.steps[-1][0]}__", last[-1]
    accepted = inspect.signature(last.fit).parameters.values()
    if not any(one.name == "sample_weight" or one.kind is one.VAR_KEYWORD for one in accepted):
        raise EstimatorError(
            f"{type(last).__name__}.fit takes no sample_weight, and rows have a weight (meta.ml.weight): leave the "
            "weight out, or name an estimator that takes it"
        )
    return {f"{name}sample_weight": weights}


def suited(estimator: Any, target: Any) -> Any:
    """An unfitted estimator as it can be fitted on a target of shape (rows,).

    Of rows of one class there is nothing to learn but their class. Boosting that stops early holds out rows of its own,
    for which it needs two of each class.
    """
    if not is_classifier(estimator):
        return estimator
    counts = pd.Series(target).value_counts()
    if len(counts) == 1:
        return DummyClassifier(strategy="prior")
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    if counts.min() < 2 and isinstance(last, HistGradientBoostingClassifier) and last.early_stopping == "auto":
        last.set_params(early_stopping=False)
    return estimator


def hold_out(
    estimator: Any,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    learned: Mask,
    held: Mask,
    classes: Sequence[Class] = (),
    weights: Vector | None = None,
) -> Matrix:
    """Predictions of the held rows by a fit on those that are learned from: of numbers, shape (held rows,); of classes
    their probabilities, shape (held rows, classes).

    Raises:
        EstimatorError: As `predictions`.
    """
    fitted = fit(estimator, features[learned], target[learned], taken(weights, learned))
    with threadpool_limits(limits=1):
        return probabilities(fitted, features[held], classes) if classes else predictions(fitted, features[held])


def probabilities(fitted: Any, features: pd.DataFrame, classes: Sequence[Class]) -> Matrix:
    """What a fitted classifier says of features of shape (rows, features): a probability a row and class, shape
    (rows, classes); of classes that it has never seen, 0.

    Raises:
        EstimatorError: It says something else, or fails.
    """
    try:
        values: Matrix = np.asarray(fitted.predict_proba(features), np.float64)
        known = np.asarray(fitted.classes_).tolist()
    except MemoryError:
        raise
    except Exception as error:  # anybody's code
        raise EstimatorError(f"it cannot predict: {said(error)}") from error
    if values.shape != (len(features), len(known)):
        raise EstimatorError(
            f"its predict_proba has the shape {values.shape} for {len(features):,} rows and {len(known)} classes"
        )
    places = {value: place for place, value in enumerate(classes)}
    if strange := [value for value in known if value not in places]:
        raise EstimatorError(f"its classes_ have {strange[0]!r}, which is none of those that it learned from")
    with np.errstate(invalid="ignore"):
        off = ~((values >= 0) & (values <= 1)).all(axis=1) | ~(np.abs(values.sum(axis=1) - 1) <= MOST_OFF)
    if off.any():
        raise EstimatorError(
            f"its probabilities are none, or do not add up to 1, in {off.sum():,} of {len(off):,} rows"
        )
    found = np.zeros((len(features), len(classes)))
    found[:, [places[value] for value in known]] = values
    return found


def predictions(fitted: Any, features: pd.DataFrame) -> Vector:
    """What a fitted estimator predicts of features of shape (rows, features): a finite number a row, shape (rows,).

    Raises:
        EstimatorError: It predicts something else, or fails.
    """
    try:
        values: Vector = np.asarray(fitted.predict(features), np.float64)
    except MemoryError:
        raise
    except Exception as error:  # anybody's code
        raise EstimatorError(f"it cannot predict: {said(error)}") from error
    if values.shape != (len(features),):
        raise EstimatorError(f"it predicts the shape {values.shape} for {len(features):,} rows, not a number for each")
    if unusable := int(np.sum(~(np.abs(values) < LARGEST))):  # NaN is no less either
        raise EstimatorError(f"it predicts NaN, infinity or beyond {LARGEST:g} in {unusable:,} of {len(values):,} rows")
    return values


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


def estimator(spec: CandidateSpec, seed: int, encoding: Encoding | None = None, task: Task = "regression") -> Any:
    """The unfitted regressor or classifier of a candidate, and all that it is made of, with the spec's seed, on one
    thread.

    Where columns are encoded, it is a pipeline with the encoders before it.

    A seed or a number of threads that the spec's parameters name, under whichever name, stays as it is.

    Raises:
        EstimatorError: As `build`.
    """
    path = spec.path(task)
    assert path is not None, f"{spec.name} has no estimator"
    where = f"candidate {spec.name}: estimator {path}"
    make = _imported(path, where)
    accepted = [name for name in _parameters(make) if make is not LogisticRegression or name not in THREADS]
    ours = [(names, value) for names, value in ((SEEDS, seed), (THREADS, 1)) if not set(names) & set(spec.chosen)]
    given = {_first(accepted, names): value for names, value in ours}
    try:
        made = make(**{name: value for name, value in given.items() if name}, **spec.chosen)
        if hasattr(made, "__sklearn_tags__") and (is_regressor if task == "regression" else _is_able)(made):
            filled = _filled(made, ours)
            return encoding.before(spec.name, filled) if encoding else filled
    except Exception as error:  # anybody's code
        allowed = f" Allowed parameters: {', '.join(accepted)}." if accepted else ""
        raise EstimatorError(f"{where}: {said(error)}.{allowed}") from error
    needed = "regressor" if task == "regression" else "classifier"
    lacks = f"is no {needed}" if task == "regression" or not _is_classifier(made) else "gives no probabilities"
    raise EstimatorError(
        f"{where} makes a {type(made).__name__}, which {lacks}. Name a class or function that gives an unfitted "
        f"scikit-learn {needed}{'' if task == 'regression' else ' with predict_proba'}."
    )


def _is_classifier(made: Any) -> bool:
    return hasattr(made, "__sklearn_tags__") and bool(is_classifier(made))


def _is_able(made: Any) -> bool:
    return _is_classifier(made) and hasattr(made, "predict_proba")


def _filled(made: Any, ours: Sequence[tuple[Sequence[str], int]]) -> Any:
    """The estimator with values of ours where it, or one that is inside it, leaves such a parameter open."""
    inside = {f"{name}__": value for name, value in made.get_params().items() if _is_estimator(value)}
    for prefix, part in {"": made, **inside}.items():
        told = part.get_params(deep=False)
        # not every estimator tells of a parameter that was not given
        known = dict.fromkeys([*told, *_parameters(type(part))])
        if isinstance(part, LogisticRegression):
            known.pop("n_jobs", None)  # which it warns of: it has no threads
        for names, value in ours:
            values = [told[name] for name in names if told.get(name) is not None]
            open_ = not values or (names is THREADS and min(values) < 0)  # joblib's -1 is all cores
            if open_ and (name := _first(known, names)):
                made.set_params(**{f"{prefix}{name}": value})
    return made


def _parameters(make: Any) -> list[str]:
    """The names of what it is called with; none where it does not tell, as compiled code may not."""
    try:
        return list(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        return []


def _first(known: Iterable[str], names: Sequence[str]) -> str:
    """Of names for the same, the one that is known; where several are, as CatBoost's two for a seed, it takes one."""
    return next((name for name in known if name in names), "")


def _is_estimator(value: object) -> bool:
    return hasattr(value, "set_params") and not isinstance(value, type)


def said(error: Exception) -> str:
    """An error of somebody else's code, in its own words."""
    kind = (
        ""
        if isinstance(error, TractError | TypeError | ValueError | AttributeError | ImportError)
        else f"{type(error).__name__}: "
    )
    return f"{kind}{first_line(error)}"


def _imported(path: str, where: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:  # a module that is imported may do anything
        raise EstimatorError(
            f"{where} cannot be imported: {said(error)}. Write it as package.module.Name, and "
            f"{estimators.installing(path)}."
        ) from error
    return found
