"""The predictions of a fitted linear pipeline as one SQL expression, made where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import duckdb
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ml.errors import TractError
from ml.lake.sql import literal, quoted

# Largest difference between SQL and scikit-learn, as a share of a prediction's terms.
PARITY = 1e-9


class ParityError(TractError):
    """SQL and scikit-learn predict differently; the message says by how much, and where."""


def is_linear(estimator: Any) -> TypeGuard[Pipeline]:
    """Whether `predict_sql` can write the predictions of this fitted estimator."""
    return isinstance(estimator, Pipeline) and [type(step) for _, step in estimator.steps] == [StandardScaler, Ridge]


def predict_sql(pipeline: Pipeline, features: Sequence[str]) -> str:
    """`pipeline.predict` as a SQL expression, equal to 1e-9 of its largest term.

    Args:
        pipeline: A fitted StandardScaler and a fitted linear model, with `coef_` and `intercept_`.
        features: The columns, as the pipeline was fitted with them, in that order.

    Returns:
        A double over the columns, NULL where one of them is NULL. Each feature is centred before it is multiplied, as
        scikit-learn does: folding the means into the intercept would cancel digits when they are large.

    Raises:
        ValueError: `features` are not the pipeline's.
    """
    scaler, model = pipeline[0], pipeline[-1]
    fitted = [str(name) for name in getattr(scaler, "feature_names_in_", features)]
    if list(features) != fitted or len(fitted) != scaler.n_features_in_:
        raise ValueError(f"the pipeline was fitted with {', '.join(fitted)}, not with {', '.join(features)}")
    terms = [
        f"(cast({quoted(name)} as double) - {literal(mean)}) * {literal(slope)}"
        for name, mean, slope in zip(features, scaler.mean_, model.coef_ / scaler.scale_, strict=True)
    ]
    return f"({' + '.join([literal(model.intercept_), *terms])})"


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
    predicted = estimator.predict(inputs)
    terms = np.abs(estimator[0].transform(inputs) * estimator[-1].coef_).sum(axis=1) + abs(estimator[-1].intercept_)
    difference = np.abs(in_sql.to_numpy() - predicted) / np.maximum(terms, np.finfo(np.float64).tiny)
    worst = int(np.argmax(difference))
    if not difference[worst] <= PARITY:
        raise ParityError(
            f"SQL predicts {in_sql[worst]!r} and scikit-learn {predicted[worst]!r} for {inputs.iloc[worst].to_dict()}: "
            f"they differ by {difference[worst]:.1e} of the terms, allowed is {PARITY:.0e}. The version may not serve."
        )
    return float(difference[worst])
