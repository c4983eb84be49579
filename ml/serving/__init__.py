"""Predictions of new rows by the champion, with their intervals, as a notebook or a service asks for them."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ml.columns import Kind
from ml.errors import TractError
from ml.learning import fits, intervals
from ml.learning.classification import Classification
from ml.learning.fits import EstimatorError
from ml.learning.intervals import Spread
from ml.records import champions, versions
from ml.records.versions import Version


class ServingError(TractError):
    """These rows cannot be predicted; the message names exposure, columns, what was found and what is needed."""


def predict(con: duckdb.DuckDBPyConnection, exposure_name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Predict rows with the exposure's champion, whose file's sha256 is checked first.

    Args:
        con: From `lake.connect`.
        rows: Any number of rows with the features that the champion learned from, in any order; other columns are
            ignored. Numbers, dates and texts as pandas has them; None and NaN are NULL, which a champion takes that
            learned from columns other than numbers without NULL.

    Returns:
        With the index of `rows`, what lake.ml.predictions has for the same features. Of numbers, columns prediction,
        lower, upper, in the target's unit; of classes, prediction, probability (of the positive one of two, else of the
        predicted one), probabilities (a dict of class as text to probability) and prediction_set (a list of texts).

    Raises:
        ServingError: The exposure has no champion; a column is missing, or of another kind; a number, or a prediction,
            is not finite.
        ArtifactError: The champion's file is missing or was changed.
    """
    champion = champions.champion(con, exposure_name)
    if champion is None:
        raise ServingError(f"Exposure {exposure_name} has no champion yet{_known(con)}.")
    where = f"Champion {champion.version_id} of {exposure_name}"
    if missing := [name for name in champion.features if name not in rows.columns]:
        raise ServingError(
            f"{where} needs the column {', '.join(missing)}. It learned from {', '.join(champion.features)}; "
            f"the rows have {', '.join(map(str, rows.columns)) or 'no columns'}."
        )
    features = _features(where, champion, rows)
    if champion.classification:
        return _classes(con, exposure_name, where, champion, features)
    if rows.empty:
        return pd.DataFrame({"prediction": [], "lower": [], "upper": []}, index=rows.index, dtype=np.float64)
    estimator = versions.load(con, exposure_name, champion)
    try:
        predicted = fits.predictions(estimator, features)
    except EstimatorError as error:
        raise ServingError(f"{where} fails on these rows: {error}.") from None
    spread = Spread.from_json(champion.parameters["spread"])
    lower, upper = intervals.ends(predicted, spread.half_width(features, predicted), spread.minimum)
    return pd.DataFrame({"prediction": predicted, "lower": lower, "upper": upper}, index=rows.index)


def _classes(
    con: duckdb.DuckDBPyConnection, exposure_name: str, where: str, champion: Version, features: pd.DataFrame
) -> pd.DataFrame:
    """What is served of classes."""
    assert champion.classification
    made = Classification.from_json(champion.classification)
    probabilities = np.empty((0, len(made.classes)))
    if len(features):
        try:
            probabilities = fits.probabilities(versions.load(con, exposure_name, champion), features, made.classes)
        except EstimatorError as error:
            raise ServingError(f"{where} fails on these rows: {error}.") from None
    served = {
        name: pd.Series(column.to_pylist(), features.index) for name, column in made.columns(probabilities).items()
    }
    served["probabilities"] = served["probabilities"].map(dict)
    return pd.DataFrame(served)


def _features(where: str, champion: Version, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows' features as the champion takes them.

    Raises:
        ServingError: One is of another kind, or not finite.
    """
    made = {}
    for name, kind in champion.kinds.items():
        needed = {"date": "dates", "text": "texts"}.get(kind, "numbers")
        try:
            made[name] = _values(rows[name], kind)
        except (TypeError, ValueError) as error:
            of = "" if champion.plain else f" in {name}"
            raise ServingError(f"{where} needs {needed}{of}: {error}.") from None
    features = pd.DataFrame(made, index=rows.index)
    numbers = features.select_dtypes(np.float64)
    finite = np.isfinite(numbers) if champion.plain else ~np.isinf(numbers)
    if unusable := [f"{name} in {len(rows) - count}" for name, count in finite.sum().items() if count < len(rows)]:
        found = "Missing or infinite" if champion.plain else "Infinite"
        raise ServingError(f"{where} needs finite numbers. {found}: {', '.join(unusable)} of {len(rows)} rows.")
    return features


def _values(column: "pd.Series[Any]", kind: Kind) -> "pd.Series[Any]":
    """A column's values as frames of learners hold them."""
    if kind == "date":
        return pd.to_datetime(column, utc=True).dt.tz_localize(None)
    if kind != "text":
        return column.astype(np.float64)
    texts = column.astype(object)
    texts = texts.where(texts.notna(), None)
    for value in texts:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{value!r} is no text")
    return texts


def _known(con: duckdb.DuckDBPyConnection) -> str:
    try:
        names = champions.with_champions(con)
    except duckdb.CatalogException:
        return ", as nothing was built in this lake yet: start with `dbt build`"
    return f"; those that have one: {', '.join(names)}" if names else ""
