"""Binary logistic regression fitted where the rows are, by Newton steps of one scan each, as scikit-learn would fit it.

A scan gives loss, gradient and Hessian of many fits at once: the one that serves, and one for each fold without its
rows. Rows arrive as Arrow batches, and BLAS multiplies them: CPU seconds for a step of six fits on 2 million rows of 11
features are 1.0 so, and 0.7 for one fit alone as sums of SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml.arrays import Mask, Matrix, Vector
from ml.lake import engine
from ml.lake.engine import Source
from ml.lake.sql import literal, quoted
from ml.linear import batches, encoder, pipelines
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.moments import Moments, complement, total
from ml.linear.spectrum import Scaling
from ml.linear.terms import Term, Value, are_plain
from ml.linear.terms import terms as terms_of

T = TypeVar("T")
# scikit-learn's own inverse of the penalty.
C = 1.0
# A step no longer than this, as a share of the largest coefficient, is the last: what it leaves is of its square.
_LAST_STEP = 1e-7
# The same on a sample, which only finds where the scans of all rows begin.
_LAST_ROUGH_STEP = 1e-3
# Steps that are tried; from a sample's fit three are enough, from nothing eight.
_MOST_STEPS = 60
# A share of a class below which there is none: rounding may leave as much.
_NO_SHARE = 1e-12
# A loss may rise by this share of itself: so much is rounding.
_ROUNDING = 1e-10
# Rows of the sample, and the rows from which one is drawn.
_SAMPLE = 100_000
_MANY_ROWS = 4 * _SAMPLE
# Numbers that are held, 134 MB: of a table that has no more, all rows are read once; a sample has no more either.
_HELD = 2**24
# Rows of its rarer class that a sample needs for each coefficient (Peduzzi et al., 'A simulation study of the number of
# events per variable in logistic regression analysis', 1996); with fewer, its coefficients lead away.
_EVENTS = 10
# Numbers in a block of rows: what is computed of them stays in the cache.
_BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class Training:
    """The rows that a fit learns from.

    Attributes:
        moments: Of these rows, of `[features..., target]`, the target being 0 or 1.
        cells: Which cells of the table they are, shape (cells,).
    """

    moments: Moments
    cells: Mask


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """A fitted logistic regression.

    Attributes:
        pipeline: `Pipeline(StandardScaler, LogisticRegression)`, fitted: what scikit-learn would have made of the rows.
            If not all terms are plain numbers, after the `ColumnTransformer` that makes them of raw columns.
        steps: Of Newton on all rows that it took; of a table of many rows each is a scan.
        separated: Whether it tells the classes of its own rows apart without an error.
        notes: A sentence for that, and one for each constant or collinear column.
    """

    pipeline: Pipeline
    steps: int
    separated: bool
    notes: tuple[str, ...]


def fit(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    *,
    c: float = C,
    fold: str | None = None,
    folds: int | None = None,
    weight: str | None = None,
    classes: Sequence[Any] | npt.NDArray[Any] = (0, 1),
) -> list[LogisticFit]:
    """The fit on all rows and, if there are folds, the fits that leave one out, in rising order.

    Args:
        con: As for `ml.linear.gathering.gather`, like the next five.
        relation: A table expression, read some times: name a snapshot.
        features: The p features.
        target: Name of a column of 0 and 1.
        c: As for `fit_cells`.
        fold: SQL expression for each row's fold, an integer.
        folds: How many folds are expected.
        weight: As for `gather`: then all is as scikit-learn's with `sample_weight`, of the scaler too.
        classes: As for `fit_cells`.

    Raises:
        UnusableRowsError: See `gather` and `fit_cells`.
    """
    parts = gather(con, relation, features, target, fold, folds, weight)
    cells = np.arange(max(parts) + 1)
    trainings = [Training(total(parts.values()), cells >= 0)]
    if fold is not None:
        trainings += [Training(complement(parts, number), cells != number) for number in parts]
    return fit_cells(con, relation, features, target, fold or "0", trainings, c=c, weight=weight, classes=classes)


def fit_cells(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    cell: str,
    trainings: Sequence[Training],
    *,
    c: float = C,
    weight: str | None = None,
    classes: Sequence[Any] | npt.NDArray[Any] = (0, 1),
) -> list[LogisticFit]:
    """Fit each training set, all by the same scans.

    Args:
        con: Where the relation can be read.
        relation: As for `fit`, like the next two.
        features: Of which the moments are.
        target: A column of 0 and 1.
        cell: SQL expression of a row's cell, an integer from 0.
        trainings: At least one, of one number of cells. The first one's scaling is the scans' own.
        c: scikit-learn's `C`: the penalty is `1 / (2 c)` times the squared coefficients of the standardized features,
            beside the sum of log losses.
        weight: As for `gather`, by which the moments were made.
        classes: What the pipelines predict for 0 and for 1.

    Raises:
        UnusableRowsError: A training set has one class alone, or a target that is not 0 or 1; other rows than the
            moments were made of; no convergence.
        ValueError: `c` is not positive and finite.
    """
    if not 0 < c < np.inf:
        raise ValueError(f"c is {c}; the inverse of a penalty must be positive and finite")
    terms = terms_of(features)
    for training in trainings:
        _check_classes(training.moments, target)
    first = trainings[0].moments
    changes = [_change(training.moments, first.mean[:-1], terms) for training in trainings]
    learns = np.array([training.cells for training in trainings])

    def each(made: Callable[[Iterable[batches.Batch]], T], of: str = relation, times: str = "1e0") -> list[T]:
        stands_for = times if weight is None else f"({times}) * ({weight})"
        beside = [f"cast({quoted(target)} as double)", f"cast({cell} as bigint)", stands_for]
        return batches.each(con, of, terms, first.mean, made, beside)

    ((count,),) = engine.added(engine.of(con).rows(f"select count(*) from {relation}"))
    held = _joined(each(_held)) if count * (len(terms) + 1) <= _HELD else None

    def scan(coefficients: Matrix, active: Mask) -> _Sums:
        if held is None:
            part = partial(_of_part, coefficients=coefficients, learns=learns[active])
            sums = _Sums.together(each(part))
        else:
            sums = _summed(held, coefficients, learns[active])
        asked = [training.moments for training, asked in zip(trainings, active, strict=True) if asked]
        expected = np.array([moments.weight for moments in asked])
        if not np.allclose(sums.rows, expected, rtol=0.0 if weight is None else _ROUNDING, atol=0.0):
            raise UnusableRowsError(
                f"{relation} had {expected[0]:g} rows at the first scan and {sums.rows[0]:g} at the next: read one "
                "snapshot of it, with at (version => ...)"
            )
        return sums

    starts = [_base_rate(training.moments) for training in trainings]
    if share := _share(trainings):
        far, drawn = _far_sql(first, terms, share), f"hash({_columns_sql(terms)}) < {int(share * 2**64)}"
        sampled = each(
            _held,
            f"(from {relation} where {far} or {drawn})",
            f"case when {far} then 1e0 else {literal(1 / share)} end",
        )
        starts = _rough(_joined(sampled), changes, learns, starts, c)
    newtons = [_Newton(change, start, c) for change, start in zip(changes, starts, strict=True)]
    if not _converged(newtons, scan, _LAST_STEP):
        raise UnusableRowsError(
            f"logistic regression of {relation} did not converge in {_MOST_STEPS} steps: are columns of very different "
            "scales multiplied into one another, or is a value far from all others?"
        )
    return [
        _fitted(training.moments, terms, newton, c, classes)
        for training, newton in zip(trainings, newtons, strict=True)
    ]


def has_both_classes(moments: Moments) -> bool:
    """Whether rows with these moments, whose target is 0 or 1, are of both."""
    # of weights, the least share is less than a row's
    return _NO_SHARE < float(moments.mean[-1]) < 1 - _NO_SHARE


def _check_classes(moments: Moments, target: str) -> None:
    share = float(moments.mean[-1])
    # of 0 and 1 the variance follows from the mean; rounding leaves far less
    expected = moments.weight * share * (1 - share)
    if abs(float(moments.scatter[-1, -1]) - expected) > 1e-6 * moments.weight or not -1e-9 < share < 1 + 1e-9:
        raise UnusableRowsError(f"column {target!r} holds other numbers than 0 and 1, which logistic regression needs")
    if not has_both_classes(moments):
        raise UnusableRowsError(
            f"column {target!r} is {round(share)} in all {moments.n} rows that a fit learns from: both classes are "
            "needed; ask for fewer folds, or give it more rows"
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """A batch.

    Attributes:
        centred: The terms less the first training set's means, shape (p, rows).
        sign: 1 or -1 for the class, shape (rows,), like the next two.
        cells: Of the table.
        weights: For how many rows each stands.
    """

    centred: Matrix
    sign: Vector
    cells: npt.NDArray[np.int64]
    weights: Vector


@dataclass(eq=False)
class _Sums:
    """Of each fit, (fits, ...), by weight: rows, errors, log loss, its gradient (p + 1,) and Hessian (p + 1, p + 1)."""

    rows: Vector
    errors: Vector
    loss: Vector
    gradient: Matrix
    hessian: Matrix

    @classmethod
    def zeros(cls, fits: int, width: int) -> _Sums:
        """Of no rows."""
        rows, errors, loss = np.zeros((3, fits))
        return cls(rows, errors, loss, np.zeros((fits, width)), np.zeros((fits, width, width)))

    @classmethod
    def together(cls, parts: Sequence[_Sums]) -> _Sums:
        """Of all parts' rows, of which there is at least one."""
        found = parts[0]
        for more in parts[1:]:
            for name in ("rows", "errors", "loss", "gradient", "hessian"):
                setattr(found, name, getattr(found, name) + getattr(more, name))
        return found


def _rows(part: Iterable[batches.Batch]) -> Iterable[_Rows]:
    for centred, (is_one, cells, weights) in part:
        yield _Rows(centred, 2.0 * is_one - 1.0, cells, weights)


def _held(part: Iterable[batches.Batch]) -> list[_Rows]:
    """The rows of a part, to be held."""
    return list(_rows(part))


def _joined(parts: Iterable[list[_Rows]]) -> list[_Rows]:
    return [batch for part in parts for batch in part]


def _of_part(part: Iterable[batches.Batch], coefficients: Matrix, learns: Mask) -> _Sums:
    """One scan of a part."""
    return _summed(_rows(part), coefficients, learns)


def _summed(rows: Iterable[_Rows], coefficients: Matrix, learns: Mask) -> _Sums:
    """One scan.

    Args:
        coefficients: Of 1 and the centred terms, shape (fits, p + 1).
        learns: Which cells each fit learns from, shape (fits, cells).
    """
    sums = _Sums.zeros(*coefficients.shape)
    # BLAS's own threads would wait for each other at each block; batches on two threads were 15 % faster
    with threadpool_limits(limits=1):
        for batch in rows:
            _add(sums, batch, coefficients, learns)
    return sums


def _add(sums: _Sums, batch: _Rows, coefficients: Matrix, learns: Mask) -> None:
    (fits, width), every = coefficients.shape, bool(learns.all() and (batch.weights == 1).all())
    size = max(_BLOCK // (width + fits), 64)
    for begin in range(0, batch.centred.shape[1], size):
        sign = batch.sign[begin : begin + size]
        x = np.empty((width, len(sign)))
        x[0] = 1.0
        x[1:] = batch.centred[:, begin : begin + size]
        margin = coefficients @ x
        margin *= sign
        wrong = (margin <= 0).astype(np.float64)
        small = np.exp(-np.abs(margin))
        loss = np.log1p(small)
        loss -= np.minimum(margin, 0.0)
        # the probability of the other class, to all its digits where it is small
        other = np.where(margin <= 0, 1.0, small) / (1.0 + small)
        weight = small / np.square(1.0 + small)
        if not every:
            learned = learns[:, batch.cells[begin : begin + size]] * batch.weights[begin : begin + size]
            loss, other, weight, wrong = loss * learned, other * learned, weight * learned, wrong * learned
        sums.rows += len(sign) if every else learned.sum(axis=1)
        sums.errors += wrong.sum(axis=1)
        sums.loss += loss.sum(axis=1)
        sums.gradient -= (other * sign) @ x.T
        for number in range(fits):
            sums.hessian[number] += (x * weight[number]) @ x.T


def _change(moments: Moments, centre: Vector, terms: Sequence[Term]) -> Matrix:
    """What makes coefficients of 1 and the scans' terms of those of 1 and a fit's own features, shape (p + 1, p + 1).

    A fit's features are standardized by its own rows, NULLs at their mean.

    Args:
        moments: Of its rows.
        centre: What the scans subtract, shape (p,).
    """
    mapped = np.eye(len(terms)) if are_plain(terms) else encoder.imputed(moments, terms)[0][:-1, :-1]
    own, _ = pipelines.imputed(moments, terms)
    scaling = Scaling(own)
    # a constant column has no slope: its deviations are rounding
    slopes = np.where(scaling.constant, 0.0, 1.0 / scaling.scale)
    change = np.zeros((len(terms) + 1,) * 2)
    change[0, 0] = 1.0
    change[0, 1:] = (mapped @ centre - scaling.mean) * slopes
    change[1:, 1:] = (mapped * slopes[:, None]).T
    return change


class _Newton:
    """One fit on its way: Newton's steps on standardized features, halved as long as the loss rises.

    Attributes:
        coefficients: Of 1 and the standardized features, where the next scan looks, shape (p + 1,).
        steps: Scans so far.
        errors: Rows of its own that the last scan saw on the wrong side, or their weight.
    """

    def __init__(self, change: Matrix, start: Vector, c: float) -> None:
        self.change, self.coefficients, self.steps, self.errors = change, start, 0, 0.0
        self.penalty = np.full(len(start), 1.0 / c)
        self.penalty[0] = 0.0  # the intercept has none
        self.reached, self.step, self.loss = start, np.zeros(len(start)), np.inf

    def advance(self, loss: float, gradient: Vector, hessian: Matrix, errors: float, last: float) -> bool:
        """Take what a scan gave of the rows' loss at `coefficients`; whether the step from there is the last one."""
        change, at = self.change, self.coefficients
        self.steps, self.errors = self.steps + 1, errors
        penalized = loss + float(self.penalty @ at**2) / 2
        if not penalized <= self.loss * (1 + _ROUNDING):  # NaN is no less either
            self.step = self.step / 2
            self.coefficients = self.reached + self.step
            return False
        slope = change.T @ gradient + self.penalty * at
        curvature = change.T @ hessian @ change + np.diag(self.penalty)
        self.reached, self.loss = at, penalized
        self.step = -solve(curvature, slope, assume_a="pos")
        self.coefficients = at + self.step
        return bool(np.abs(self.step).max() <= last * max(1.0, float(np.abs(at).max())))


def _converged(newtons: Sequence[_Newton], scan: Callable[[Matrix, Mask], _Sums], last: float) -> bool:
    """Whether all fits arrive: all that have not yet advance by one scan, and then by the next."""
    active = np.ones(len(newtons), np.bool_)
    for _ in range(_MOST_STEPS):
        moving = [newton for newton, asked in zip(newtons, active, strict=True) if asked]
        sums = scan(np.array([newton.change @ newton.coefficients for newton in moving]), active)
        arrived = [
            newton.advance(float(sums.loss[i]), sums.gradient[i], sums.hessian[i], float(sums.errors[i]), last)
            for i, newton in enumerate(moving)
        ]
        active[np.flatnonzero(active)[arrived]] = False
        if not active.any():
            return True
    return False


def _base_rate(moments: Moments) -> Vector:
    """Coefficients that predict how frequent the class 1 is, and tell no row from another."""
    share = float(moments.mean[-1])
    return np.array([np.log(share / (1 - share)), *np.zeros(len(moments.mean) - 1)])


def _share(trainings: Sequence[Training]) -> float:
    """The share of rows that are fitted before all are, 0 for none: a start that is near saves half of the scans."""
    rows = max(training.moments.n for training in trainings)
    share = min(_SAMPLE, _HELD // len(trainings[0].moments.mean)) / rows
    rarer = min(
        training.moments.n * min(training.moments.mean[-1], 1 - training.moments.mean[-1]) for training in trainings
    )
    return share if rows >= _MANY_ROWS and rarer * share >= _EVENTS * len(trainings[0].moments.mean) else 0.0


def _columns_sql(terms: Sequence[Term]) -> str:
    return ", ".join(dict.fromkeys(quoted(term.column) for term in terms))


def _far_sql(moments: Moments, terms: Sequence[Term], share: float) -> str:
    """Whether a row is far from the others in one of its values: of such a row a sample must have all.

    Few rows decide the slope of a column of heavy tails. Without them the sample's slope may be such that Newton's
    steps on all rows are halved ten times (rooms per person of a million block groups: 21 scans, 5 with them). No more
    than the sample's number can be so far (Chebyshev).
    """
    deviations = np.sqrt(np.diag(moments.scatter)[:-1] / (moments.weight * share) * len(terms))
    far = [
        f"abs({term.sql} - {literal(mean)}) > {literal(deviation)}"
        for term, mean, deviation in zip(terms, moments.mean, deviations, strict=False)
        if isinstance(term, Value)
    ]
    return f"({' or '.join(far) or 'false'})"


def _rough(
    sampled: Sequence[_Rows], changes: Sequence[Matrix], learns: Mask, starts: Sequence[Vector], c: float
) -> list[Vector]:
    """Where fits arrive on a sample, or the starts where they do not: rows that are often repeated may all be in it."""
    newtons = [_Newton(change, start, c) for change, start in zip(changes, starts, strict=True)]
    arrived = _converged(newtons, lambda at, active: _summed(sampled, at, learns[active]), _LAST_ROUGH_STEP)
    found = [newton.coefficients for newton in newtons]
    usable = arrived and all(np.isfinite(some).all() for some in found)
    return found if usable else list(starts)


def _fitted(
    moments: Moments, terms: Sequence[Term], newton: _Newton, c: float, classes: Sequence[Any] | npt.NDArray[Any]
) -> LogisticFit:
    own, made = pipelines.imputed(moments, terms)
    model = LogisticRegression(C=c).fit(np.zeros((2, len(made))), np.asarray(classes))
    scaling = Scaling(own)
    slopes = np.where(scaling.constant, 0.0, newton.coefficients[1:])
    model.coef_, model.intercept_ = slopes[None, :], newton.coefficients[:1]
    model.n_iter_ = np.array([newton.steps], model.n_iter_.dtype)
    separated = newton.errors == 0
    alone = (
        (
            f"the classes of all {moments.n:,} rows are told apart without an error: the penalty alone bounds the "
            "coefficients",
        )
        if separated
        else ()
    )
    return LogisticFit(
        pipelines.assembled(scaling, made, "logisticregression", model),
        newton.steps,
        separated,
        (*alone, *pipelines.notes(own, made)),
    )
