"""Prediction intervals: conformal, their width a function of the row, as SQL and in numpy.

A linear model of the features and the prediction gives the expected size of an error. The error of a held-out row
divided by its expected size is its score. Half the width of an interval is the expected size times a quantile of the
scores (normalized cross-conformal prediction: Vovk, Cross-conformal predictors, 2015; Papadopoulos, Gammerman, Vovk,
Normalized nonconformity measures, 2008).

Errors of the past and of what is to come are not exchangeable. Where rows are held out by time, each period's intervals
are made of what was known before it (`over_time`): scores weigh less with each period that has passed (Barber, Candès,
Ramdas, Tibshirani, Conformal prediction beyond exchangeability, 2023), and the level is raised after a period whose
intervals held too few, lowered after one whose intervals held too many (Gibbs, Candès, Adaptive conformal inference
under distribution shift, 2021).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.arrays import Integers, Vector
from ml.lake.sql import literal, quoted, summed
from ml.linear.moments import Moments, total
from ml.linear.spectrum import Scaling
from ml.linear.terms import Value

PREDICTION = "prediction"
HALF = "half width"
# The bounds of an expected error, as shares of the mean error. A linear model of heavy-tailed columns would otherwise
# promise certainty, or nothing at all, where no such row was seen.
LEAST_SHARE, MOST_SHARE = 0.25, 4.0
# What is left of a score's weight when one more period has passed.
FADING = 0.5
# The share of a period's lack of coverage by which the level rises after it: of all of it, one odd period would decide.
RATE = 0.5


@dataclass(frozen=True)
class ExpectedError:
    """The absolute error that is expected of a prediction, linear in the features and the prediction, within bounds.

    Attributes:
        intercept, slopes: By column and by the prediction, in the target's unit.
        least, most: The bounds, in the target's unit.
        fills: What stands for NULL, by column.
    """

    intercept: float
    slopes: Mapping[str, float]
    least: float
    most: float
    fills: Mapping[str, float] = field(default_factory=dict)

    def of(self, features: pd.DataFrame, predicted: Vector) -> Vector:
        """The expected error of each row, shape (rows,), in the target's unit."""
        expected = np.full(len(predicted), self.intercept)
        for name, slope in self.slopes.items():
            expected += slope * (predicted if name == PREDICTION else self._values(features, name))
        bounded: Vector = np.clip(expected, self.least, self.most)
        return bounded

    def _values(self, features: pd.DataFrame, name: str) -> Vector:
        values = features[name].to_numpy(np.float64)
        return np.where(np.isnan(values), self.fills[name], values) if name in self.fills else values

    def sql(self) -> str:
        """The same as an expression over the features and a column `prediction`."""
        terms = [
            f"{Value(name, fill=self.fills.get(name)).sql} * {literal(slope)}" for name, slope in self.slopes.items()
        ]
        expected = summed([literal(self.intercept), *terms])
        return f"least(greatest({expected}, {literal(self.least)}), {literal(self.most)})"


@dataclass(frozen=True)
class Spread:
    """Makes the intervals of a version: a quantile of scores times the expected error, to each side.

    Attributes:
        quantile: Of the held-out scores, at the level asked for.
        expected_error: By which an error is divided to be a score.
        minimum: What the target cannot be below, in its unit; None for a target that can be any number.
    """

    quantile: float
    expected_error: ExpectedError
    minimum: float | None = None

    def half_width(self, features: pd.DataFrame, predicted: Vector) -> Vector:
        """Half the width of the interval of each row, before it is cut, shape (rows,), in the target's unit."""
        return self.quantile * self.expected_error.of(features, predicted)

    def half_width_sql(self) -> str:
        """The same as an expression over the features and a column `prediction`."""
        return f"({literal(self.quantile)} * {self.expected_error.sql()})"

    def ends_sql(self) -> str:
        """What `ends` gives, as columns `lower` and `upper` over columns `prediction` and `HALF`."""
        half = quoted(HALF)
        lower, upper = f"prediction - {half}", f"prediction + {half}"
        if self.minimum is not None:
            low = literal(self.minimum)
            lower, upper = f"greatest({lower}, {low})", f"greatest({upper}, {low})"
        return f"{lower} as lower, {upper} as upper"

    def to_json(self) -> dict[str, Any]:
        """As numbers and names, on one level, for ml.model_versions."""
        expected_error = asdict(self.expected_error)
        if not self.expected_error.fills:
            del expected_error["fills"]
        return {"quantile": self.quantile, **expected_error, "minimum": self.minimum}

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> "Spread":
        """From what `to_json` gave."""
        expected_error = {name: json[name] for name in ("intercept", "slopes", "least", "most")}
        return cls(json["quantile"], ExpectedError(**expected_error, fills=json.get("fills", {})), json.get("minimum"))


def ends(predicted: Vector, half: Vector, minimum: float | None) -> tuple[Vector, Vector]:
    """The lower and the upper end of each interval, shape (rows,) each: none is below what the target can be."""
    low = -np.inf if minimum is None else minimum
    return np.maximum(predicted - half, low), np.maximum(predicted + half, low)


def fit(
    features: pd.DataFrame,
    predicted: Vector,
    actual: Vector,
    fold: Integers,
    level: float,
    minimum: float | None = None,
    fills: Mapping[str, float] | None = None,
) -> Spread:
    """Learn the spread from held-out predictions.

    The scores of a fold divide by an expected error that was learned from the other folds. Learned from the same
    errors, it promises too much where folds differ (one-degree cells, 48 features, 90 % asked for: 86.7 % were covered,
    and 90.9 % so).

    Args:
        features: Shape (rows, features), of the held-out rows, finite numbers.
        predicted: Shape (rows,), each by a model that had not seen the row.
        actual: Shape (rows,).
        fold: Shape (rows,), the fold in which each row was held out.
        level: Share of new rows that intervals are to cover.
        minimum: Of the spread.
        fills: Of the expected error.
    """
    folds = _by_fold(features, predicted, actual, fold)
    return Spread(_quantile(folds, level), replace(_expected_error(folds.values()), fills=dict(fills or {})), minimum)


def held_out_half_widths(
    features: pd.DataFrame, predicted: Vector, actual: Vector, fold: Integers, level: float
) -> Vector:
    """Half widths of held-out rows, shape (rows,), each by a spread learned without the row's fold; else as `fit`."""
    folds = _by_fold(features, predicted, actual, fold)
    widths = np.empty(len(predicted))
    for number, part in folds.items():
        others = _without(folds, number)
        spread = Spread(_quantile(others, level), _expected_error(others.values()))
        widths[fold == number] = spread.half_width(part.features, part.predicted)
    return widths


def over_time(
    features: pd.DataFrame,
    predicted: Vector,
    actual: Vector,
    fold: Integers,
    level: float,
    minimum: float | None = None,
    fills: Mapping[str, float] | None = None,
) -> tuple[Vector, Spread]:
    """Half widths of rows held out by time, shape (rows,), and the spread for what comes next; else as `fit`.

    Both are made in the same way, of the periods before. Of the first period's rows, before which no error is known,
    the half width is NaN.

    Args:
        fold: Shape (rows,), the period in which each row was held out, numbered as time goes.
    """
    folds = _by_fold(features, predicted, actual, fold)
    widths = np.full(len(predicted), np.nan)
    before: dict[int, _Fold] = {}
    asked = level
    for number, part in folds.items():
        if before:
            spread = Spread(_faded_quantile(before, asked), _expected_error(before.values()))
            half = spread.half_width(part.features, part.predicted)
            widths[fold == number] = half
            asked = float(np.clip(asked + RATE * (level - np.mean(part.errors <= half)), 0.0, 1.0))
        before[number] = part
    expected_error = replace(_expected_error(before.values()), fills=dict(fills or {}))
    return widths, Spread(_faded_quantile(before, asked), expected_error, minimum)


def weighted_quantile(scores: Vector, weights: Vector, level: float) -> float:
    """The smallest score up to which the weights are a share `level` of all and of one more row's, which is 1; the
    largest where none is. With weights of 1 it is the conformal quantile.

    Args:
        scores: Shape (rows,).
        weights: Shape (rows,), up to 1.
    """
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    needed = level * (reached[-1] + 1)
    place = int(np.searchsorted(reached, needed * (1 - 1e-12)))  # rounding must not take one score more
    return float(scores[order][min(place, len(scores) - 1)])


def conformal_quantile(scores: Sequence[float] | Vector, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores; the largest where that exceeds n.

    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered[min(math.ceil((len(ordered) + 1) * level), len(ordered)) - 1])


_REACH = "intervals reach as far as the largest error"


def too_few(rows: int, level: float, of_classes: bool = False) -> str:
    """What to say where so few rows cannot tell how far errors reach at a level; empty where they can."""
    needed = math.ceil(level / (1 - level) - 1e-9)
    if rows >= needed:
        return ""
    reach = "sets of classes reach as far as the least probable true class" if of_classes else _REACH
    return (
        f"{reach} of {rows:,} rows, which is less than {level:.4g} asks for (meta.ml.coverage): that takes {needed:,} "
        "rows"
    )


@dataclass(frozen=True, eq=False)
class _Fold:
    """The held-out predictions of one fold, and the sums of `[features..., prediction, error]`."""

    features: pd.DataFrame
    predicted: Vector
    errors: Vector
    moments: Moments

    @classmethod
    def of(cls, features: pd.DataFrame, predicted: Vector, actual: Vector) -> "_Fold":
        errors = np.abs(actual - predicted)
        return cls(features, predicted, errors, Moments.of(np.column_stack([features, predicted, errors])))


def _by_fold(features: pd.DataFrame, predicted: Vector, actual: Vector, fold: Integers) -> dict[int, _Fold]:
    rows = {int(number): fold == number for number in np.unique(fold)}
    return {number: _Fold.of(features[held], predicted[held], actual[held]) for number, held in rows.items()}


def _without(folds: Mapping[int, _Fold], left_out: int) -> dict[int, _Fold]:
    return {number: fold for number, fold in folds.items() if number != left_out}


def _quantile(folds: Mapping[int, _Fold], level: float) -> float:
    """The quantile of the scores."""
    return conformal_quantile(np.concatenate(_scores(folds)), level)


def _faded_quantile(folds: Mapping[int, _Fold], level: float) -> float:
    """The same of periods, numbered as time goes, the last of which has the weight 1."""
    scores = _scores(folds)
    weights = [np.full(len(some), FADING**age) for age, some in enumerate(reversed(scores))]
    return weighted_quantile(np.concatenate(scores), np.concatenate(weights[::-1]), level)


def _scores(folds: Mapping[int, _Fold]) -> list[Vector]:
    """Of each fold, its errors divided by the error that the other folds expect."""
    scores = []
    for number, fold in folds.items():
        # a single fold has no others: of two folds, one may be held out
        others = _without(folds, number) or folds
        scores.append(fold.errors / _expected_error(others.values()).of(fold.features, fold.predicted))
    return scores


def _expected_error(folds: Collection[_Fold]) -> ExpectedError:
    """Ridge of the errors on the features and the prediction, with penalty 1."""
    moments = total(fold.moments for fold in folds)
    names = [*map(str, next(iter(folds)).features.columns), PREDICTION]
    scaling = Scaling(moments)
    slopes = scaling.coefficients_of(moments, 1.0) / scaling.scale
    mean = float(moments.mean[-1])
    return ExpectedError(
        intercept=float(mean - slopes @ scaling.mean),
        slopes=dict(zip(names, slopes.tolist(), strict=True)),
        # with no error at all, any width above zero will do
        least=max(LEAST_SHARE * mean, float(np.finfo(np.float64).tiny)),
        most=max(MOST_SHARE * mean, float(np.finfo(np.float64).tiny)),
    )
