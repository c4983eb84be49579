"""Ridge regression from a table's moments, as scikit-learn would fit it to the rows.

The moments give every penalty's solution and its cross-validated error exactly, without the rows (`alpha_by='folds'`).
Leave-one-out errors need each row's leverage, so one more scan (`alpha_by='loo'`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline

from ml.arrays import Matrix, Vector
from ml.lake.engine import Source
from ml.linear import encoder, pipelines
from ml.linear.gathering import gather
from ml.linear.leave_one_out import loo_errors
from ml.linear.moments import Moments, complement, total
from ml.linear.spectrum import Spectrum, check_alphas
from ml.linear.terms import Term, are_plain
from ml.linear.terms import terms as terms_of


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A fitted ridge regression and how its penalty was chosen.

    Attributes:
        pipeline: `Pipeline(StandardScaler, Ridge)`, fitted: what scikit-learn would have made of the rows. If not all
            terms are plain numbers, after the `ColumnTransformer` that makes them of raw columns.
        alpha: The penalty chosen: the first of those with the least error.
        alphas: Every penalty tried, as given.
        errors: Mean squared error of each, in squared units of the target: over left-out rows ('loo', the negative of
            `RidgeCV.best_score_`) or the mean over folds of each fold's ('folds', the negative of `GridSearchCV`'s
            `mean_test_score`).
        rank: Independent directions among the standardized features, at most their number.
        notes: A sentence for each constant or collinear column. Empty if the rank is full.
        moments: Of all rows.
    """

    pipeline: Pipeline
    alpha: float
    alphas: tuple[float, ...]
    errors: tuple[float, ...]
    rank: int
    notes: tuple[str, ...]
    moments: Moments


def fit(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    *,
    alphas: Sequence[float] | Vector,
    alpha_by: Literal["loo", "folds"] = "loo",
    fold: str | None = None,
    folds: int | None = None,
    weight: str | None = None,
) -> RidgeFit:
    """Choose a penalty and fit, without pulling the rows together.

    Args:
        con: As for `ml.linear.gathering.gather`, like the next three.
        relation: A table expression, read once or twice: name a snapshot.
        features: The p features.
        target: Name of the target.
        alphas: Penalties to try, positive and finite; scikit-learn's `alpha`, on standardized features.
        alpha_by: 'loo' chooses as `Pipeline(StandardScaler(), RidgeCV(alphas))` does, by leave-one-out error with the
            scaling of all rows, in two scans. 'folds' chooses as `GridSearchCV` over
            `Pipeline(StandardScaler(), Ridge())` does, standardizing within each training set, in one.
        fold: SQL expression for each row's fold, an integer; for 'folds' only.
        folds: How many folds are expected.
        weight: As for `gather`: then all is as scikit-learn's with `sample_weight`, of the scaler too.

    Raises:
        UnusableRowsError: See `gather`; also a single row, or a table that changed between the scans.
        ValueError: A penalty is not allowed, or a fold is missing ('folds') or given ('loo').
    """
    checked = check_alphas(alphas)
    if alpha_by not in ("loo", "folds"):
        raise ValueError(f"alpha_by is {alpha_by!r}; 'loo' and 'folds' are allowed")
    if (alpha_by == "folds") != (fold is not None):
        raise ValueError("alpha_by='folds' needs a fold expression, and only it")
    parts = gather(con, relation, features, target, fold, folds, weight)
    moments = total(parts.values())
    if alpha_by == "folds":
        errors = fold_errors(parts, checked, features).mean(axis=0)
    else:
        errors = left_out_errors(con, relation, features, target, moments, checked, weight)
    return chosen(moments, features, checked, errors)


def left_out_errors(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    moments: Moments,
    alphas: Sequence[float] | Vector,
    weight: str | None = None,
) -> Vector:
    """As `loo_errors`, of terms whose NULLs stand at the mean of all rows."""
    own, made = pipelines.imputed(moments, features)
    return loo_errors(con, relation, made, target, own, alphas, weight)


def chosen(
    moments: Moments, features: Sequence[str | Term], alphas: Sequence[float] | Vector, errors: Vector
) -> RidgeFit:
    """Fit with the penalty of least error, the first of those.

    Args:
        moments: Of `[features..., target]`, all rows.
        features: The p features.
        alphas: The penalties tried, shape (penalties,).
        errors: Their errors, shape (penalties,).
    """
    checked = check_alphas(alphas)
    alpha = checked[int(np.argmin(errors))]
    own, made = pipelines.imputed(moments, features)
    spectrum = Spectrum(own)
    return RidgeFit(
        pipeline=fit_moments(moments, alpha, features),
        alpha=alpha,
        alphas=checked,
        errors=tuple(float(error) for error in errors),
        rank=len(spectrum.eigenvalues),
        notes=pipelines.notes(own, made, spectrum),
        moments=moments,
    )


def fit_moments(moments: Moments, alpha: float, features: Sequence[str | Term]) -> Pipeline:
    """The fitted `Pipeline(StandardScaler(), Ridge(alpha))` of the rows with these moments; see `RidgeFit.pipeline`.

    Args:
        moments: Of `[features..., target]`.
        alpha: The penalty, positive and finite.
        features: The p features, in the order of the moments; terms in the order of `encoder.fitted`.

    Raises:
        ValueError: The penalty is not allowed, or the features are not as many as the moments'.
    """
    (alpha,) = check_alphas([alpha])
    if len(features) != len(moments.mean) - 1:
        raise ValueError(f"{len(features)} features were named; the moments have {len(moments.mean) - 1} and a target")
    own, made = pipelines.imputed(moments, features)
    spectrum = Spectrum(own)
    model = Ridge(alpha=alpha).fit(np.zeros((2, len(made))), np.zeros(2))
    model.coef_ = spectrum.coefficients(np.array([alpha]))[0]
    model.intercept_ = np.float64(moments.mean[-1])
    return pipelines.assembled(spectrum, made, "ridge", model)


def fold_errors(
    folds: Mapping[int, Moments],
    alphas: Sequence[float] | Vector,
    features: Sequence[str | Term] = (),
    before: Mapping[int, Moments] | None = None,
) -> Matrix:
    """Mean squared error of each held-out fold under each penalty, fitted on the other folds, or on what is before it.

    Features are standardized, and NULLs put at the mean, within each training set. With slopes b in the columns' own
    units, a fold's squared errors sum to `v'Sv + n (v'd)^2` for `v = [-b, 1]`, its scatter S, and d its mean less the
    training rows'.

    Returns:
        Shape (folds, penalties), folds in rising order, in squared units of the target.
    """
    made, errors = terms_of(features), []
    for key, held_out in sorted(folds.items()):
        training = before[key] if before else complement(folds, key)
        if not are_plain(made):
            change, _ = encoder.imputed(training, made)
            training, held_out = training.mapped(change), held_out.mapped(change)
        errors.append(_held_out_errors(training, held_out, alphas))
    return np.array(errors)


def generalized_errors(
    moments: Moments, alphas: Sequence[float] | Vector, features: Sequence[str | Term] = ()
) -> Vector:
    """Generalized cross-validated squared error of each penalty, from the moments alone: shape (penalties,).

    `n RSS / (n - tr H)^2`: leave-one-out with every row's leverage put at their mean (Golub, Heath, Wahba 1979,
    'Generalized cross-validation as a method for choosing a good ridge parameter'). It chooses a penalty for a
    training set that is only known by its sums.
    """
    moments, _ = pipelines.imputed(moments, features)
    spectrum = Spectrum(moments)
    penalties = np.asarray(check_alphas(alphas))
    shrunk = spectrum.shrunk(penalties)
    explained = spectrum.projection**2 / spectrum.eigenvalues
    least = max(float(moments.scatter[-1, -1] - explained.sum()), 0.0)
    rss = least + explained @ (penalties * shrunk) ** 2
    freedom = moments.weight - 1 - spectrum.eigenvalues @ shrunk
    # as few rows as columns leave no freedom, but for what rounding makes of it
    errors: Vector = moments.weight * rss / np.maximum(freedom, np.finfo(np.float64).eps) ** 2
    return errors


def _held_out_errors(training: Moments, held_out: Moments, alphas: Sequence[float] | Vector) -> Vector:
    spectrum = Spectrum(training)
    slopes = spectrum.coefficients(np.asarray(alphas)) / spectrum.scale
    direction = np.column_stack([-slopes, np.ones(len(alphas))])
    root = _square_root(held_out.scatter / held_out.weight)
    # The means are subtracted first: an intercept in the columns' own units would cancel when they are large.
    bias = direction @ training.step(held_out)
    errors: Vector = np.sum((direction @ root) ** 2, axis=1) + bias**2
    return errors


def _square_root(covariance: Matrix) -> Matrix:
    """R with RR' = covariance, so that v'Cv is a sum of squares and cannot round below zero."""
    scale = np.sqrt(np.diag(covariance))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    root: Matrix = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    return root
