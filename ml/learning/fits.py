"""Fits of anybody's estimators, and what they predict, each on one thread: what is wrong with them is said."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml.arrays import Mask, Matrix, Vector
from ml.classes import Class
from ml.errors import TractError
from ml.lake import first_line
from ml.lake.sql import LARGEST
from ml.learning.scratch import scratch
from ml.weights import taken

# By how much probabilities may miss 1 in all: some libraries compute in single precision.
MOST_OFF = 1e-4


class EstimatorError(TractError):
    """A candidate cannot be built or fitted, or does not predict; the message names it and what is wrong."""


def said(error: Exception) -> str:
    """An error of somebody else's code, in its own words."""
    kind = (
        ""
        if isinstance(error, TractError | TypeError | ValueError | AttributeError | ImportError)
        else f"{type(error).__name__}: "
    )
    return f"{kind}{first_line(error)}"


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
