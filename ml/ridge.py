"""Ridge regression from a table's moments, as scikit-learn would fit it to the rows.

The moments give every penalty's solution and its cross-validated error exactly, without the rows
(``alpha_by='folds'``). Leave-one-out errors need each row's leverage, so one more scan (``alpha_by='loo'``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import qr
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ml.moments import Array, Moments, UnusableRowsError, complement, gather, quoted, total

_EPS = float(np.finfo(np.float64).eps)
# Rows per Arrow batch of the leave-one-out scan: 7 MB of 8 features and a target. CPU seconds for 10 million
# rows by batches of 10,000: 3.1; 50,000: 1.4; 200,000: 1.3.
_BATCH = 100_000
# Interpolation in the penalty is used where its error bound is below this, far under a double's rounding.
_EXACT = 1e-18
# ... and where no row's leverage is beyond this; the bound allows for one half.
_LEVERAGE = 0.4


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A fitted ridge regression and how its penalty was chosen.

    Attributes
    ----------
    pipeline : Pipeline(StandardScaler, Ridge), fitted: what scikit-learn would have made of the rows.
    alpha : float
        The penalty chosen: the first of those with the least error.
    alphas : tuple of float
        Every penalty tried, as given.
    errors : tuple of float
        Mean squared error of each, in squared units of the target: over left-out rows ('loo', the negative of
        ``RidgeCV.best_score_``) or the mean over folds of each fold's ('folds', the negative of
        ``GridSearchCV``'s ``mean_test_score``).
    rank : int
        Independent directions among the standardized features, at most their number.
    notes : tuple of str
        A sentence for each constant or collinear column. Empty if the rank is full.
    moments : Moments of all rows.
    """

    pipeline: Pipeline
    alpha: float
    alphas: tuple[float, ...]
    errors: tuple[float, ...]
    rank: int
    notes: tuple[str, ...]
    moments: Moments


def fit(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    features: Sequence[str],
    target: str,
    *,
    alphas: Sequence[float] | Array,
    alpha_by: Literal["loo", "folds"] = "loo",
    fold: str | None = None,
    folds: int | None = None,
) -> RidgeFit:
    """Choose a penalty and fit, without pulling the rows together.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        As for ``ml.moments.gather``, like the next five.
    relation : str
        A table expression, read once or twice: name a snapshot.
    features : sequence of str
        Names of the p features.
    target : str
        Name of the target.
    alphas : sequence of float
        Penalties to try, positive and finite; scikit-learn's ``alpha``, on standardized features.
    alpha_by : 'loo' or 'folds'
        'loo' chooses as ``Pipeline(StandardScaler(), RidgeCV(alphas))`` does, by leave-one-out error with the
        scaling of all rows, in two scans. 'folds' chooses as ``GridSearchCV`` over ``Pipeline(StandardScaler(),
        Ridge())`` does, standardizing within each training set, in one.
    fold : str or None
        SQL expression for each row's fold, an integer; for 'folds' only.
    folds : int or None
        How many folds are expected.

    Raises
    ------
    UnusableRowsError
        See ``gather``; also a single row, or a table that changed between the scans.
    ValueError
        A penalty is not allowed, or a fold is missing ('folds') or given ('loo').
    """
    checked = _check_alphas(alphas)
    if alpha_by not in ("loo", "folds"):
        raise ValueError(f"alpha_by is {alpha_by!r}; 'loo' and 'folds' are allowed")
    if (alpha_by == "folds") != (fold is not None):
        raise ValueError("alpha_by='folds' needs a fold expression, and only it")
    parts = gather(con, relation, features, target, fold, folds)
    moments = total(parts.values())
    if alpha_by == "folds":
        errors = fold_errors(parts, checked).mean(axis=0)
    else:
        errors = loo_errors(con, relation, features, target, moments, checked)
    alpha = checked[int(np.argmin(errors))]
    spectrum = _Spectrum(moments)
    return RidgeFit(
        pipeline=fit_moments(moments, alpha, features),
        alpha=alpha,
        alphas=checked,
        errors=tuple(float(error) for error in errors),
        rank=len(spectrum.eigenvalues),
        notes=spectrum.notes(features),
        moments=moments,
    )


def fit_moments(moments: Moments, alpha: float, features: Sequence[str]) -> Pipeline:
    """Make the fitted ``Pipeline(StandardScaler(), Ridge(alpha))`` of the rows with these moments.

    Parameters
    ----------
    moments : Moments
        Of ``[features..., target]``.
    alpha : float
        The penalty, positive and finite.
    features : sequence of str
        Names of the p features, in the order of the moments.
    """
    (alpha,) = _check_alphas([alpha])
    if len(features) != len(moments.mean) - 1:
        raise ValueError(f"{len(features)} features were named; the moments have {len(moments.mean) - 1} and a target")
    spectrum = _Spectrum(moments)
    pipeline = Pipeline([("standardscaler", StandardScaler()), ("ridge", Ridge(alpha=alpha))])
    # scikit-learn fits two rows of zeros first: every attribute that its version sets is then there, with its
    # right type, and only the numbers are put in.
    pipeline.fit(pd.DataFrame(np.zeros((2, len(features))), columns=list(features)), np.zeros(2))
    scaler, ridge = pipeline[0], pipeline[-1]
    scaler.mean_, scaler.var_, scaler.scale_ = (
        spectrum.mean.copy(),
        spectrum.variance.copy(),
        spectrum.scale.copy(),
    )
    scaler.n_samples_seen_ = type(scaler.n_samples_seen_)(moments.n)
    ridge.coef_ = spectrum.coefficients(np.array([alpha]))[0]
    ridge.intercept_ = np.float64(moments.mean[-1])
    return pipeline


def fold_errors(folds: Mapping[int, Moments], alphas: Sequence[float] | Array) -> Array:
    """Mean squared error of each held-out fold under each penalty, fitted on the other folds.

    Standardized within each training set. Returns an array of shape (folds, penalties), folds in rising order,
    in squared units of the target. With slopes b in the columns' own units, a fold's squared errors sum to
    ``v'Sv + n (v'd)^2`` for ``v = [-b, 1]``, its scatter S, and d its mean less the training rows'.
    """
    return np.array(
        [_held_out_errors(complement(folds, key), held_out, alphas) for key, held_out in sorted(folds.items())]
    )


def _held_out_errors(training: Moments, held_out: Moments, alphas: Sequence[float] | Array) -> Array:
    spectrum = _Spectrum(training)
    slopes = spectrum.coefficients(np.asarray(alphas)) / spectrum.scale
    direction = np.column_stack([-slopes, np.ones(len(alphas))])
    root = _square_root(held_out.scatter / held_out.n)
    # The means are subtracted first: an intercept in the columns' own units would cancel when they are large.
    bias = direction @ training.step(held_out)
    errors: Array = np.sum((direction @ root) ** 2, axis=1) + bias**2
    return errors


def _square_root(covariance: Array) -> Array:
    """R with RR' = covariance, so that v'Cv is a sum of squares and cannot round below zero."""
    scale = np.sqrt(np.diag(covariance))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    root: Array = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    return root


class _Spectrum:
    """Eigendecomposition of the standardized features' Gram matrix Z'Z.

    Attributes
    ----------
    n : int
    mean, variance, scale : ndarray of shape (p,), as in StandardScaler
    target_mean : float
    constant : ndarray of shape (p,), bool
    eigenvalues : ndarray of shape (rank,), those told from zero, rising
    vectors : ndarray of shape (p, rank)
    null : ndarray of shape (p, d), directions in which the features that vary do not: collinear columns
    projection : ndarray of shape (rank,), vectors' Z'y
    """

    def __init__(self, moments: Moments) -> None:
        self.n = moments.n
        self.mean, self.target_mean = moments.mean[:-1], float(moments.mean[-1])
        self.variance = np.diag(moments.scatter)[:-1] / moments.n
        self.constant = _is_constant(self.variance, self.mean, moments.n)
        self.scale = np.where(self.constant, 1.0, np.sqrt(self.variance))
        gram = moments.scatter[:-1, :-1] / np.outer(self.scale, self.scale)
        gram[self.constant, :] = gram[:, self.constant] = 0.0
        values, vectors = np.linalg.eigh(gram)
        # What rounding leaves of a zero eigenvalue: of the factorization, times p; of a sum of n terms one
        # after another, times the root of n. Such a direction holds noise, which a small penalty would blow
        # up.
        told = values > values[-1] * 4 * _EPS * (len(values) + np.sqrt(moments.n))
        self.eigenvalues, self.vectors = values[told], vectors[:, told]
        self.null = vectors[:, ~told]
        self.projection = self.vectors.T @ np.where(self.constant, 0.0, moments.scatter[:-1, -1] / self.scale)

    def shrunk(self, alphas: Array) -> Array:
        """1 / (eigenvalue + alpha), of shape (rank, penalties)."""
        result: Array = 1.0 / (self.eigenvalues[:, None] + alphas)
        return result

    def coefficients(self, alphas: Array) -> Array:
        """Ridge coefficients of the standardized features for each penalty, of shape (penalties, p)."""
        result: Array = (self.vectors @ (self.projection[:, None] * self.shrunk(alphas))).T
        return result

    @cached_property
    def _relations(self) -> list[tuple[int, list[int]]]:
        """For each lost direction, a column and the columns that make it up."""
        varying = np.flatnonzero(~self.constant)
        null = self.null[varying]
        count = len(varying) - len(self.eigenvalues)
        # The constants' own directions are null too: what is left of the null space without them is wanted.
        left, strength, _ = np.linalg.svd(null, full_matrices=False)
        null = left[:, np.argsort(-strength)[:count]]
        dependent = qr(null.T, mode="r", pivoting=True)[1][:count]
        relations = null @ np.linalg.inv(null[dependent])
        others = [np.flatnonzero(np.abs(relations[:, k]) > 1e-6) for k in range(count)]
        return sorted(
            (int(varying[column]), [int(varying[o]) for o in others[k] if o != column])
            for k, column in enumerate(dependent)
        )

    def notes(self, features: Sequence[str]) -> tuple[str, ...]:
        """Sentences naming the constant and collinear columns."""
        constant = [
            f"column {features[i]!r} is constant at {self.mean[i]:g}: its coefficient is 0"
            for i in map(int, np.flatnonzero(self.constant))
        ]
        collinear = [
            f"column {features[i]!r} is a linear function of {', '.join(repr(features[o]) for o in others)}: "
            "only their joint effect is known, and the penalty shares it out"
            for i, others in (self._relations if self.null.shape[1] else [])
        ]
        return (*constant, *collinear)


def _is_constant(variance: Array, mean: Array, n: int) -> NDArray[np.bool_]:
    """Tell whether a variance is no more than rounding.

    StandardScaler's rule (``_is_constant_feature``), after the bound for the two-pass algorithm in Chan, Golub,
    LeVeque (1983).
    """
    bound = n * _EPS * variance + (n * mean * _EPS) ** 2
    result: NDArray[np.bool_] = variance <= bound
    return result


def loo_errors(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    features: Sequence[str],
    target: str,
    moments: Moments,
    alphas: Sequence[float] | Array,
) -> Array:
    """Mean squared leave-one-out error of each penalty, in one scan; the scaling is that of all rows.

    A row's left-out error is ``(y - prediction) / (1 - h)`` with its leverage ``h = 1/n + sum_j q_j^2 / (l_j
    + a)``, q being the standardized row in the eigenbasis: Golub, Heath, Wahba (1979), 'Generalized
    cross-validation as a method for choosing a good ridge parameter', for one row at a time as in Allen's
    PRESS.

    Rows arrive as Arrow batches and meet the eigenbasis in BLAS: 8 features and 30 penalties as SQL
    expressions took 44 s for 10 million rows, on one thread, where this takes 4.4 (DuckDB makes a vector for
    each of 1,100 operators). Where many rows make the error a smooth function of the penalty, few penalties
    say it all (``_nodes``): 1.2 s.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        As for ``gather``, like the next three.
    relation : str
        The rows that the moments are of.
    features : sequence of str
        Names of the p features.
    target : str
        Name of the target.
    moments : Moments
        Of all rows, from ``gather``, which has checked them.
    alphas : sequence of float
        Penalties, positive and finite.

    Returns
    -------
    ndarray of shape (penalties,), in squared units of the target.

    Raises
    ------
    UnusableRowsError
        One row only; or other rows than the moments were made of.
    """
    if moments.n < 2:
        raise UnusableRowsError("the table has 1 row; at least 2 are needed to leave one out: choose alpha by hand")
    checked = np.array(_check_alphas(alphas))
    spectrum = _Spectrum(moments)
    nodes, weights = _nodes(spectrum, checked)
    sums, leverage = _loo_scan(con, relation, [*features, target], spectrum, nodes)
    if len(nodes) < len(checked) and leverage > _LEVERAGE:
        nodes, weights = checked, np.eye(len(checked))
        sums, _ = _loo_scan(con, relation, [*features, target], spectrum, nodes)
    # The error at a penalty is e_0 + sum_s w_s (e_s - e_0). Squared, the differences stay apart from e_0^2,
    # so that penalties whose errors agree in ten digits are still told apart.
    rest = weights[:, 1:]
    excess = 2 * rest @ sums[0, 1:] + np.einsum("ks,st,kt->k", rest, sums[1:, 1:], rest)
    result: Array = (sums[0, 0] + excess) / moments.n
    return result


def _nodes(spectrum: _Spectrum, alphas: Array) -> tuple[Array, Array]:
    """Penalties to evaluate, (r,), and weights, (penalties, r), that give the errors at ``alphas`` from them.

    A row's left-out error is a constant plus terms ``b / (m + alpha)``, m being the eigenvalues without that
    row: at least half of Z'Z's if no leverage exceeds one half. Interpolated at r Chebyshev nodes of an
    interval of length w, each term is off by at most ``2 (w / 4m)^r`` of itself. With 10 million rows the
    eigenvalues are in the millions, and four nodes do for penalties up to 10. Else the nodes are the
    penalties, and the weights 1.
    """
    low, high = float(alphas.min()), float(alphas.max())
    least = float(spectrum.eigenvalues.min(initial=np.inf)) / 2
    for count in range(1, len(alphas) // 3 + 1):
        if 2 * ((high - low) / (4 * (least + low))) ** count <= _EXACT:
            angles = (2 * np.arange(count) + 1) * np.pi / (2 * count)
            nodes = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
            return nodes, _lagrange(nodes, alphas)
    return alphas, np.eye(len(alphas))


def _lagrange(nodes: Array, points: Array) -> Array:
    """Weights of the values at ``nodes`` for the polynomial through them at ``points``: (points, nodes)."""
    weights = np.ones((len(points), len(nodes)))
    for s, node in enumerate(nodes):
        for other in np.delete(nodes, s):
            weights[:, s] *= (points - other) / (node - other)
    return weights


def _loo_scan(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], spectrum: _Spectrum, nodes: Array
) -> tuple[Array, float]:
    """Sum the products of ``[e_0, e_1 - e_0, ...]``, e being a row's left-out errors at the nodes.

    Returns the sums, of shape (nodes, nodes), and the largest leverage.
    """
    values = ", ".join(f"cast({quoted(name)} as double) as v{i}" for i, name in enumerate(columns))
    means = [*spectrum.mean, spectrum.target_mean]
    shrunk = spectrum.shrunk(nodes)
    basis = spectrum.vectors / spectrum.scale[:, None]
    residual = np.vstack([-(basis @ (spectrum.projection[:, None] * shrunk)), np.ones(len(nodes))])
    sums, least, rows = np.zeros((len(nodes), len(nodes))), np.inf, 0
    for batch in con.execute(f"select {values} from {relation}").to_arrow_reader(_BATCH):
        centred = np.empty((len(columns), batch.num_rows))
        for row, column, mean in zip(centred, batch.columns, means, strict=True):
            np.subtract(column.to_numpy(zero_copy_only=False), mean, out=row)
        projected = basis.T @ centred[:-1]
        kept = (1 - 1 / spectrum.n) - shrunk.T @ np.square(projected, out=projected)  # 1 - leverage
        errors = residual.T @ centred
        errors /= kept
        errors[1:] -= errors[0]
        sums += errors @ errors.T
        least, rows = min(least, float(kept.min(initial=np.inf))), rows + batch.num_rows
    if rows != spectrum.n:
        raise UnusableRowsError(
            f"{relation} had {spectrum.n} rows at the first scan and {rows} at the second: read one snapshot "
            "of it, with at (version => ...)"
        )
    return sums, 1 - least


def _check_alphas(alphas: Sequence[float] | Array) -> tuple[float, ...]:
    checked = tuple(float(alpha) for alpha in alphas)
    if not checked:
        raise ValueError("no alphas were given: name at least one penalty")
    for alpha in checked:
        if not 0 < alpha < np.inf:
            raise ValueError(f"alpha is {alpha}; penalties must be positive and finite")
    return checked
