"""The predictions of a fitted linear pipeline, numbers or probabilities, as one SQL expression, made where rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ml.errors import TractError
from ml.lake.sql import literal, summed
from ml.linear import encoder
from ml.linear.terms import Level, Term, Value

# Largest difference between SQL and scikit-learn, as a share of a prediction's terms.
PARITY = 1e-9


class ParityError(TractError):
    """SQL and scikit-learn predict differently; the message says by how much, and where."""


def is_linear(estimator: Any) -> bool:
    """Whether `predict_sql` can write the predictions of this fitted estimator."""
    pipeline, _ = _parts(estimator)
    if not isinstance(pipeline, Pipeline):
        return False
    kinds = [type(step) for _, step in pipeline.steps]
    if kinds[-1] is LogisticRegression and len(pipeline[-1].classes_) != 2:
        return False
    if kinds[:-1] == [ColumnTransformer, StandardScaler]:
        known = encoder.terms_of(pipeline[0]) is not None
    else:
        known = kinds[:-1] == [StandardScaler]
    return known and kinds[-1] in (Ridge, LogisticRegression)


def _parts(estimator: Any) -> tuple[Any, Any]:
    """What is inside a calibrated classifier, and the pipeline that bounds its probability, takes the logarithm of the
    odds, and shifts and stretches that (as `ml.learning.calibration` makes it); any other itself, and None.
    """
    if not isinstance(estimator, StackingClassifier):
        return estimator, None
    (inside, *others), last = estimator.estimators_, estimator.final_estimator_
    known = isinstance(last, Pipeline) and isinstance(last[-1], LogisticRegression) and len(last[-1].classes_) == 2
    return (None, None) if others or not known else (inside, last)


def predict_sql(estimator: Any, features: Sequence[str]) -> str:
    """What a linear estimator predicts as a SQL expression, equal to 1e-9 of its largest term.

    Args:
        estimator: `is_linear`: a fitted pipeline of a StandardScaler and Ridge, whose `predict` it is, or a binary
            LogisticRegression, calibrated or not, whose `predict_proba` of the greater class it is; before
            them perhaps what `encoder.fitted` makes.
        features: The columns, as the pipeline was fitted with them, in that order.

    Returns:
        A double over the columns, NULL where one of them is NULL and nothing stands for it. Each feature is centred
        before it is multiplied, as scikit-learn does: folding the means into the intercept would cancel digits when
        they are large. A column's levels are one expression.

    Raises:
        ValueError: `features` are not the pipeline's.
    """
    pipeline, calibration = _parts(estimator)
    linear = _linear_sql(pipeline, features)
    if isinstance(pipeline[-1], Ridge):
        return linear
    if calibration is not None:
        low, high = (logit(calibration[0].kw_args[end]) for end in ("a_min", "a_max"))
        bounded = f"least(greatest({linear}, {literal(low)}), {literal(high)})"
        last = calibration[-1]
        linear = f"({literal(last.intercept_[0])} + {literal(last.coef_[0, 0])} * {bounded})"
    # exp of a large number is infinity, and its inverse 0
    return f"(1e0 / (1e0 + exp(-{linear})))"


def _linear_sql(pipeline: Pipeline, features: Sequence[str]) -> str:
    """The sum of intercept and terms, which is a prediction, or the logarithm of the odds."""
    first, scaler, model = pipeline[0], pipeline[-2], pipeline[-1]
    fitted = [str(name) for name in getattr(first, "feature_names_in_", features)]
    # a ColumnTransformer takes columns by their names
    same = sorted(features) == sorted(fitted) if isinstance(first, ColumnTransformer) else list(features) == fitted
    if not same or len(fitted) != first.n_features_in_:
        raise ValueError(f"the pipeline was fitted with {', '.join(fitted)}, not with {', '.join(features)}")
    terms: Sequence[Term] = [Value(name) for name in features]
    if isinstance(first, ColumnTransformer):
        terms = encoder.terms_of(first) or ()
    summands = [literal(np.ravel(model.intercept_)[0])]
    levels: dict[str, list[tuple[Level, float, float]]] = {}
    for term, mean, slope in zip(terms, scaler.mean_, np.ravel(model.coef_) / scaler.scale_, strict=True):
        if isinstance(term, Value):
            summands.append(f"({term.sql} - {literal(mean)}) * {literal(slope)}")
        else:
            levels.setdefault(term.column, []).append((term, mean, slope))
    summands += [_of_levels(some) for some in levels.values()]
    return summed(summands)


def _of_levels(levels: Sequence[tuple[Level, float, float]]) -> str:
    """The sum of the terms of one column's levels, of which one holds at most."""
    none = -sum(mean * slope for _, mean, slope in levels)
    cases = " ".join(f"when {level.condition} then {literal(none + slope)}" for level, _, slope in levels)
    return f"case {cases} else {literal(none)} end"


def check_parity(
    con: duckdb.DuckDBPyConnection, rows: pd.DataFrame, estimator: Any, features: Sequence[str]
) -> float | None:
    """Compare SQL's and scikit-learn's predictions before a version may serve.

    Args:
        rows: Any number of rows with the features.

    Returns:
        The largest difference, as a share of the sum of the prediction's absolute terms; None for an estimator that
        has no SQL.

    Raises:
        ParityError: It is more than `PARITY`.
    """
    if not is_linear(estimator) or rows.empty:
        return None
    inputs = rows[list(features)]
    in_sql = con.sql(f"select {predict_sql(estimator, features)} as prediction from inputs").df()["prediction"]
    pipeline, _ = _parts(estimator)
    model = pipeline[-1]
    terms = np.abs(pipeline[:-1].transform(inputs) * model.coef_).sum(axis=1) + np.abs(model.intercept_)
    if isinstance(model, Ridge):
        predicted = estimator.predict(inputs)
    else:
        predicted, terms = estimator.predict_proba(inputs)[:, 1], np.maximum(terms, 1.0)
    difference = np.abs(in_sql.to_numpy() - predicted) / np.maximum(terms, np.finfo(np.float64).tiny)
    worst = int(np.argmax(difference))
    if not difference[worst] <= PARITY:
        raise ParityError(
            f"SQL predicts {in_sql[worst]!r} and scikit-learn {predicted[worst]!r} for {inputs.iloc[worst].to_dict()}: "
            f"they differ by {difference[worst]:.1e} of the terms, allowed is {PARITY:.0e}. The version may not serve."
        )
    return float(difference[worst])
