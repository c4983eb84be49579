"""Boosted trees grown several times and averaged, blind to named columns: for rows unlike those learned from."""

from collections.abc import Sequence
from typing import Any

from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.pipeline import Pipeline, make_pipeline


def boosting(times: int = 4, without: Sequence[str] = (), random_state: int = 0, **parameters: Any) -> Pipeline:
    """The mean of several `HistGradientBoostingRegressor` that differ by their seed alone.

    With `max_features` below 1 each split sees other columns, so the trees of each seed rely on different columns. The
    mean errs less where columns have values that they did not have together.

    Args:
        times: The number of regressors that are averaged.
        without: Columns that no regressor sees. Trees that split by latitude and longitude memorize the regions that
            they learned from, and predict another region badly.
        random_state: Of the first; each further one has the next number.
        parameters: Those of `HistGradientBoostingRegressor`.
    """
    seen = make_column_transformer(("drop", list(without)), remainder="passthrough")
    return make_pipeline(seen, seeds(times, random_state, **parameters))


def seeds(times: int, random_state: int, **parameters: Any) -> VotingRegressor:
    """The last step of `boosting` alone."""
    return VotingRegressor(
        [
            (f"seed_{seed}", HistGradientBoostingRegressor(random_state=seed, **parameters))
            for seed in range(random_state, random_state + times)
        ]
    )
