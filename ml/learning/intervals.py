"""Prediction intervals: conformal, their width a function of the row, as SQL and in numpy.

The errors of held-out rows are divided by what a linear model of the features and the prediction expects of their
size; the quantile of these scores times the expected size is half the width (normalized cross-conformal prediction:
Vovk, Cross-conformal predictors, 2015; Papadopoulos, Gammerman, Vovk, Normalized nonconformity measures, 2008).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.arrays import Integers, Vector
from ml.lake.sql import literal, quoted
from ml.linear.moments import Moments, total
from ml.linear.spectrum import Spectrum

PREDICTION = "prediction"
# The expected size of an error is kept between these shares of the mean error: a linear model of heavy-tailed columns
# would otherwise promise certainty, or nothing at all, where no such row was seen.
LEAST, MOST = 0.25, 4.0


@dataclass(frozen=True)
class Spread:
    """How far off a prediction may be.

    Attributes:
        quantile: Of the held-out scores, at the level asked for.
        intercept, slopes: The expected absolute error, by column and by the prediction, in the target's unit.
        least, most: Bounds of the expected error, in the target's unit.
        minimum: What the target cannot be below, in its unit; None for a target that can be any number.
    """

    quantile: float
    intercept: float
    slopes: Mapping[str, float]
    least: float
    most: float
    minimum: float | None = None

    def half_width(self, features: pd.DataFrame, predicted: Vector) -> Vector:
        """Half the width of the interval of each row, before it is cut, shape (rows,), in the target's unit."""
        return self.quantile * self._expected(features, predicted)

    def _expected(self, features: pd.DataFrame, predicted: Vector) -> Vector:
        expected = np.full(len(predicted), self.intercept)
        for name, slope in self.slopes.items():
            expected += slope * (predicted if name == PREDICTION else features[name].to_numpy(np.float64))
        bounded: Vector = np.clip(expected, self.least, self.most)
        return bounded

    def half_width_sql(self) -> str:
        """The same as an expression over the features and a column `prediction`."""
        terms = [f"cast({quoted(name)} as double) * {literal(slope)}" for name, slope in self.slopes.items()]
        expected = " + ".join([literal(self.intercept), *terms])
        bounded = f"least(greatest({expected}, {literal(self.least)}), {literal(self.most)})"
        return f"({literal(self.quantile)} * {bounded})"

    def ends_sql(self) -> str:
        """What `ends` gives, as columns `lower` and `upper` over columns `prediction` and `half`."""
        lower, upper = "prediction - half", "prediction + half"
        if self.minimum is not None:
            low = literal(self.minimum)
            lower, upper = f"greatest({lower}, {low})", f"greatest({upper}, {low})"
        return f"{lower} as lower, {upper} as upper"

    def to_json(self) -> dict[str, Any]:
        """As numbers and names, for ml.model_versions."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Spread":
        """From what `to_json` gave."""
        return cls(**said)


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
) -> Spread:
    """Learn the spread from held-out predictions.

    The scores that make the quantile are of errors that the expected size was not learned from, fold by fold: from its
    own errors it promises too much where folds differ (one-degree cells, 48 features: 86.7 % covered at 90, and 90.9 %
    so).

    Args:
        features: Shape (rows, features), of the held-out rows.
        predicted: Shape (rows,), each by a model that had not seen the row.
        actual: Shape (rows,).
        fold: Shape (rows,), the fold in which each row was held out.
        level: Share of new rows that intervals shall cover.
        minimum: Of the spread.
    """
    return replace(_HeldOut.of(features, predicted, actual, fold).spread(level), minimum=minimum)


def held_out(features: pd.DataFrame, predicted: Vector, actual: Vector, fold: Integers, level: float) -> Vector:
    """Half widths of held-out rows, shape (rows,), each by a spread learned without the row's fold; else as `fit`."""
    errors = _HeldOut.of(features, predicted, actual, fold)
    widths = np.empty(len(predicted))
    for number, part in errors.parts.items():
        widths[fold == number] = errors.spread(level, number).half_width(part.features, part.predicted)
    return widths


def conformal_quantile(scores: Sequence[float] | Vector, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores; the largest where that exceeds n.

    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered[min(math.ceil((len(ordered) + 1) * level), len(ordered)) - 1])


@dataclass(frozen=True, eq=False)
class _Part:
    """The held-out predictions of one fold, and the sums of `[features..., prediction, error]`."""

    features: pd.DataFrame
    predicted: Vector
    errors: Vector
    moments: Moments

    @classmethod
    def of(cls, features: pd.DataFrame, predicted: Vector, actual: Vector) -> "_Part":
        errors = np.abs(actual - predicted)
        return cls(features, predicted, errors, Moments.of(np.column_stack([features, predicted, errors])))


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Held-out predictions by fold."""

    parts: Mapping[int, _Part]

    @classmethod
    def of(cls, features: pd.DataFrame, predicted: Vector, actual: Vector, fold: Integers) -> "_HeldOut":
        rows = {int(number): fold == number for number in np.unique(fold)}
        return cls({number: _Part.of(features[held], predicted[held], actual[held]) for number, held in rows.items()})

    def spread(self, level: float, *without: int) -> Spread:
        """Learned without some folds."""
        rest = [number for number in self.parts if number not in without]
        scores = []
        for number in rest:
            # of two folds, none is left to learn the size from when one is scored and one held out
            expected = self._expected(*without, number) if len(rest) > 1 else self._expected(*without)
            part = self.parts[number]
            scores.append(part.errors / expected.half_width(part.features, part.predicted))
        return replace(self._expected(*without), quantile=conformal_quantile(np.concatenate(scores), level))

    def _expected(self, *without: int) -> Spread:
        """The expected size of an error, ridge on the columns with penalty 1, as a spread whose quantile is 1."""
        kept = {number: part for number, part in self.parts.items() if number not in without}
        moments = total(part.moments for part in kept.values())
        names = [*map(str, next(iter(kept.values())).features.columns), PREDICTION]
        spectrum = Spectrum(moments)
        slopes = spectrum.coefficients(np.ones(1))[0] / spectrum.scale
        mean = float(moments.mean[-1])
        return Spread(
            quantile=1.0,
            intercept=float(mean - slopes @ spectrum.mean),
            slopes=dict(zip(names, slopes.tolist(), strict=True)),
            # with no error at all, any width above zero will do
            least=max(LEAST * mean, float(np.finfo(np.float64).tiny)),
            most=max(MOST * mean, float(np.finfo(np.float64).tiny)),
        )
