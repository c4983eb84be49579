"""Features that alone nearly tell the target: perhaps they are known only when the answer is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.columns import LEVELS, Kind
from ml.learning.encoding import numbers

# Of the target's variance: the best feature of three flowers, the petal's width, tells 0.93.
LIKELY = 0.95
# Rows that are looked at, and of fewer than the least nothing is said: of 2,000 columns it takes 6 s.
MOST_ROWS, LEAST_ROWS = 20_000, 40
# Ranges of equal numbers of rows into which numbers are cut, so that a curve is found as well as a line.
RANGES = 100


def found(features: pd.DataFrame, kinds: Mapping[str, Kind], target: Vector, blocks: Integers) -> dict[str, float]:
    """The features whose share, as `share` gives it, is `LIKELY` or more, the largest first.

    Args:
        features: Shape (rows, features), as `read_sql` reads them.
        target: Shape (rows,) of numbers, or (rows, classes) of zeros and a one.
        blocks: Of each row, shape (rows,): rows of one block err alike, and are held out together.
    """
    step = -(-len(features) // MOST_ROWS)
    features, target, half = features[::step], target[::step], (blocks[::step] % 2).astype(np.bool_)
    if len(features) < LEAST_ROWS or half.all() or not half.any():
        return {}
    shares = {name: share(features[name], kind, target, half) for name, kind in kinds.items()}
    most = sorted(shares.items(), key=lambda item: -item[1])
    return {name: told for name, told in most if told >= LIKELY}


def share(feature: "pd.Series[Any]", kind: Kind, target: Vector, half: Mask) -> float:
    """The share of the target's variance that a feature alone tells, of rows not seen: 1 is all, 0 or less nothing.

    Each half of the rows is predicted by the other: by the mean of the feature's level or range, NULL being one, or by
    a line, whichever errs less. Of levels that name rows it is nothing.
    """
    target = target.reshape(len(target), -1)
    codes = _codes(feature, kind)
    values = None if kind in LEVELS else numbers(feature, kind)
    errors, total = {"means": 0.0, "line": 0.0}, 0.0
    for held in (half, ~half):
        learned = ~held
        mean = target[learned].mean(axis=0)
        total += float(np.sum(np.square(target[held] - mean)))
        guess = _means(codes[learned], target[learned], mean, int(codes.max()) + 1)[codes[held]]
        errors["means"] += float(np.sum(np.square(target[held] - guess)))
        guess = guess if values is None else _line(values, target, learned)[held]
        errors["line"] += float(np.sum(np.square(target[held] - guess)))
    return 1 - min(errors.values()) / total if total > 0 else 0.0


def _codes(feature: "pd.Series[Any]", kind: Kind) -> Integers:
    """Of each row its level or range, from 1, shape (rows,); 0 is NULL."""
    if kind in LEVELS:
        return pd.factorize(feature)[0].astype(np.int64) + 1
    values = numbers(feature, kind)
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, RANGES + 1)[1:-1]))
    return np.where(np.isnan(values), 0, np.searchsorted(edges, values, side="left") + 1)


def _means(codes: Integers, target: Matrix, otherwise: Vector, count: int) -> Matrix:
    """The mean target of each of so many codes, shape (codes, columns); of codes without rows it is another."""
    rows = np.bincount(codes, minlength=count)
    sums = np.column_stack([np.bincount(codes, weights=column, minlength=count) for column in target.T])
    means: Matrix = np.where(rows[:, None] > 0, sums / np.maximum(rows, 1)[:, None], otherwise)
    return means


def _line(values: Vector, target: Matrix, learned: Mask) -> Matrix:
    """What a line through the learned rows gives for all, shape (rows, columns); their mean where there is no value."""
    known = learned & ~np.isnan(values)
    mean = target[learned].mean(axis=0)
    if not known.any():
        return np.tile(mean, (len(values), 1))
    centre, middle = values[known].mean(), target[known].mean(axis=0)
    apart = values[known] - centre
    square = float(apart @ apart)
    slope = (apart @ (target[known] - middle)) / square if square > 0 else np.zeros(target.shape[1])
    predicted: Matrix = middle + np.outer(values - centre, slope)
    filled: Matrix = np.where(np.isnan(values)[:, None], mean, predicted)
    return filled
