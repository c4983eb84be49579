"""Predictions of new rows by the champion, with their intervals, as a notebook or a service asks for them."""

import duckdb
import numpy as np
import pandas as pd

from ml.errors import TractError
from ml.learning import candidates, intervals
from ml.learning.candidates import EstimatorError
from ml.learning.intervals import Spread
from ml.records import champions, versions


class ServingError(TractError):
    """These rows cannot be predicted; the message names exposure, columns, what was found and what is needed."""


def predict(con: duckdb.DuckDBPyConnection, exposure_name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Predict rows with the exposure's champion, whose file's sha256 is checked first.

    Args:
        con: From `lake.connect`.
        rows: Any number of rows with the features that the champion learned from, as numbers, in any order; other
            columns are ignored.

    Returns:
        Columns prediction, lower, upper, with the index of `rows`, in the target's unit: the numbers of
        lake.ml.predictions for the same features.

    Raises:
        ServingError: The exposure has no champion; a column is missing; a value, or a prediction, is no finite number.
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
    try:
        features = rows[list(champion.features)].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ServingError(f"{where} needs numbers: {error}.") from None
    finite = np.isfinite(features)
    if unusable := [f"{name} in {len(rows) - count}" for name, count in finite.sum().items() if count < len(rows)]:
        raise ServingError(
            f"{where} needs finite numbers. Missing or infinite: {', '.join(unusable)} of {len(rows)} rows."
        )
    if rows.empty:
        return pd.DataFrame({"prediction": [], "lower": [], "upper": []}, index=rows.index, dtype=np.float64)
    estimator = versions.load(con, champion)
    try:
        predicted = candidates.predictions(estimator, features)
    except EstimatorError as error:
        raise ServingError(f"{where} fails on these rows: {error}.") from None
    spread = Spread.from_json(champion.parameters["spread"])
    lower, upper = intervals.ends(predicted, spread.half_width(features, predicted), spread.minimum)
    return pd.DataFrame({"prediction": predicted, "lower": lower, "upper": upper}, index=rows.index)


def _known(con: duckdb.DuckDBPyConnection) -> str:
    try:
        names = champions.with_champions(con)
    except duckdb.CatalogException:
        return ", as nothing was built in this lake yet: start with `dbt build`"
    return f"; those that have one: {', '.join(names)}" if names else ""
