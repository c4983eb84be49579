"""Prediction sets: conformal sets of classes, in the place of intervals.

A held-out row's score is 1 less the calibrated probability of its true class; a set has the classes whose score is not
above a quantile of the scores (Sadinle, Lei, Wasserman, Least ambiguous set-valued classifiers with bounded error
levels, 2019), and the most probable class in any case: no set is empty, and where that class is right more often than
the level asks, more is covered. Folds and time count as they do for intervals.
"""

import numpy as np

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.learning.intervals import FADING, RATE, conformal_quantile, weighted_quantile


def members(probabilities: Matrix, quantile: float | Vector) -> Mask:
    """Which classes are in the set of each row, shape (rows, classes), of calibrated probabilities of the same shape.

    Args:
        quantile: Of the scores; one for all rows, or of shape (rows,).
    """
    inside: Mask = 1 - probabilities <= np.asarray(quantile)[..., None]
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def scores(probabilities: Matrix, codes: Integers) -> Vector:
    """Of each row, shape (rows,), by the place of its true class."""
    return 1 - probabilities[np.arange(len(codes)), codes]


def fit(probabilities: Matrix, codes: Integers, level: float) -> float:
    """The quantile of held-out rows at a level, the share of new rows whose class sets are to hold."""
    return conformal_quantile(scores(probabilities, codes), level)


def held_out(probabilities: Matrix, codes: Integers, fold: Integers, level: float) -> Vector:
    """A quantile for each held-out row, shape (rows,), learned without the row's fold; else as `fit`."""
    of_rows = scores(probabilities, codes)
    quantiles = np.empty(len(of_rows))
    for number in np.unique(fold):
        quantiles[fold == number] = conformal_quantile(of_rows[fold != number], level)
    return quantiles


def over_time(probabilities: Matrix, codes: Integers, fold: Integers, level: float) -> tuple[Vector, float]:
    """A quantile for each row that was held out by time, shape (rows,), and the one for what comes next.

    Both are made in the same way, of the periods before; of the first period's rows, before which no score is known,
    it is NaN.

    Args:
        fold: Shape (rows,), the period in which each row was held out, numbered as time goes.
    """
    of_rows = scores(probabilities, codes)
    quantiles = np.full(len(of_rows), np.nan)
    asked, before = level, np.zeros(len(of_rows), np.bool_)
    numbers = np.unique(fold)
    age = len(numbers) - 1 - np.searchsorted(numbers, fold)
    for number in numbers:
        held = fold == number
        if before.any():
            last = age[before].min()
            quantile = weighted_quantile(of_rows[before], FADING ** (age[before] - last), asked)
            quantiles[held] = quantile
            inside = members(probabilities[held], quantile)[np.arange(held.sum()), codes[held]]
            asked = float(np.clip(asked + RATE * (level - np.mean(inside)), 0.0, 1.0))
        before |= held
    return quantiles, weighted_quantile(of_rows, FADING ** age.astype(np.float64), asked)
