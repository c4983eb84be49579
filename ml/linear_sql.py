"""The predictions of a fitted linear pipeline as one SQL expression, made where the rows are."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.pipeline import Pipeline

from ml.moments import literal, quoted


def predict_sql(pipeline: Pipeline, features: Sequence[str]) -> str:
    """Say ``pipeline.predict`` as a SQL expression, equal to 1e-9 of its largest term.

    Parameters
    ----------
    pipeline : Pipeline
        A fitted StandardScaler and a fitted linear model, with ``coef_`` and ``intercept_``.
    features : sequence of str
        The columns, as the pipeline was fitted with them, in that order.

    Returns
    -------
    str
        A double over the columns, NULL where one of them is NULL. Each feature is centred before it is
        multiplied, as scikit-learn does: folding the means into the intercept would cancel digits when they
        are large.

    Raises
    ------
    ValueError
        ``features`` are not the pipeline's.
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
