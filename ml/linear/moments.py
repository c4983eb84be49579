"""Second moments of a table: all that a linear model needs to know of its rows, and they add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from ml.arrays import Matrix, Vector


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, weight, mean and centred second moments of rows `[x_1, ..., x_p, y]`.

    Attributes:
        n: Number of rows, at least one.
        mean: Of each feature, then of the target, in the columns' own units, shape (p + 1,).
        rest: What rounding took from the mean, shape (p + 1,): `mean + rest` is the mean to more digits than a double
            has. Without it, folds whose means are a million standard deviations from zero would add up to ten digits
            only.
        scatter: Sum over rows of `(row - mean)(row - mean)'`, not divided by the weight, shape (p + 1, p + 1).
        weight: For how many rows they stand: each for one, or for its weight. Mean and scatter are so weighted.
    """

    n: int
    mean: Vector
    rest: Vector
    scatter: Matrix
    weight: float = field(default=0.0)

    def __post_init__(self) -> None:
        if not self.weight:
            object.__setattr__(self, "weight", float(self.n))

    @classmethod
    def of(cls, rows: Matrix, weights: Vector | None = None) -> Moments:
        """Moments of the rows of an array of shape (n, p + 1), by the two-pass algorithm.

        Args:
            weights: Above zero, shape (n,); None where each row stands for itself.
        """
        rows = np.asarray(rows, dtype=np.float64)
        weight = float(len(rows) if weights is None else weights.sum())
        shift = np.average(rows, axis=0, weights=weights)
        centred = rows - shift
        off = np.average(centred, axis=0, weights=weights)
        mean, rest = two_sum(shift, off)
        weighted = centred if weights is None else centred * weights[:, None]
        return cls(len(rows), mean, rest, weighted.T @ centred - weight * np.outer(off, off), weight)

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of rows together.

        Chan, Golub, LeVeque (1979), 'Updating formulae and a pairwise algorithm for computing sample variances', eq.
        2.1, for covariances.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} columns do not add up")
        weight = self.weight + other.weight
        step = self.step(other)
        mean, rest = two_sum(self.mean, step * (other.weight / weight) + self.rest)
        between = np.outer(step, step) * (self.weight * (other.weight / weight))
        return Moments(self.n + other.n, mean, rest, self.scatter + other.scatter + between, weight)

    def mapped(self, change: Matrix) -> Moments:
        """The moments of `change row` of each row; `change` has shape (p' + 1, p + 1)."""
        scatter = change @ self.scatter @ change.T
        return Moments(self.n, change @ self.mean, change @ self.rest, scatter, self.weight)

    def of_columns(self, columns: Sequence[int]) -> Moments:
        """The moments of some columns and the target."""
        chosen = [*columns, len(self.mean) - 1]
        scatter = self.scatter[np.ix_(chosen, chosen)]
        return Moments(self.n, self.mean[chosen], self.rest[chosen], scatter, self.weight)

    def step(self, other: Moments) -> Vector:
        """The other's mean less this one's, shape (p + 1,)."""
        result: Vector = (other.mean - self.mean) + (other.rest - self.rest)
        return result


def two_sum(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """`a + b` rounded, and exactly what rounding took: Knuth's TwoSum."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def total(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts together, of which there is at least one."""
    return reduce(add, parts)


def complement(folds: Mapping[int, Moments], without: int) -> Moments:
    """The moments of every fold but `without`, summed: subtracting one from the whole would cancel digits."""
    return total(moments for fold, moments in sorted(folds.items()) if fold != without)
