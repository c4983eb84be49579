"""The published rows as a frame, checked: nothing is dropped or filled in silently."""

import duckdb
import numpy as np
import pandas as pd

from ml.ledger import Publication
from ml.spec import Exposure


class RowsError(Exception):
    """The published rows cannot be learned from; the message names the column and what was found."""


def read(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication) -> pd.DataFrame:
    """The published rows in the order of their key: key, group, features and target, numbers as float64.

    Raises:
        RowsError: A value is missing or not finite, the key repeats, or there are fewer rows than folds.
    """
    spec = exposure.spec
    numbers = ", ".join(f'cast("{name}" as double) as "{name}"' for name in (*exposure.features, spec.target))
    labels = ", ".join(f'"{name}"' for name in dict.fromkeys((spec.key, spec.group or spec.key)))
    frame = con.execute(f'select {labels}, {numbers} from {publication.table} order by "{spec.key}"').df()
    where = f"{publication.publication_id}, read by exposure {exposure.name}"
    if len(frame) < spec.folds:
        raise RowsError(f"{where}, has {len(frame)} rows; {spec.folds} folds need at least as many.")
    repeated = int(frame[spec.key].duplicated().sum())
    if repeated or frame[spec.key].isna().any():
        raise RowsError(
            f"{where}: the key {spec.key} is missing or repeated in {repeated or int(frame[spec.key].isna().sum())} "
            "rows. Give the column the dbt tests `unique` and `not_null`, so that such a build is not published."
        )
    for name in (*exposure.features, spec.target):
        bad = int((~np.isfinite(frame[name])).sum())
        if bad:
            raise RowsError(
                f"{where}: column {name} is missing, NaN or infinite in {bad} of {len(frame)} rows. "
                "Models learn from finite numbers only: fill it in or leave the rows out where the table is built."
            )
    return frame
