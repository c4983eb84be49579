"""Predictions of a published snapshot as rows of the warehouse: key, prediction, lower, upper, version."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from ml.ledger import Publication
from ml.registry import Version
from ml.spec import Exposure

# Rows in memory at a time: 100,000 rows of 11 doubles are 9 MB, and larger batches were no faster.
BATCH = 100_000


def batches(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version: Version, pipeline: Pipeline
) -> Iterator[pd.DataFrame]:
    """The version's predictions for every published row: frames of key, prediction, lower, upper.

    Intervals are the prediction plus and minus the version's half width, never below zero, in the target's unit.
    """
    key = exposure.spec.key
    numbers = ", ".join(f'cast("{name}" as double) as "{name}"' for name in version.features)
    half_width = float(version.parameters["half_width"])
    with con.cursor() as reader:
        rows = reader.execute(f'select "{key}", {numbers} from {publication.table}').to_arrow_reader(BATCH)
        for batch in rows:
            predicted = np.asarray(pipeline.predict(batch.select(list(version.features)).to_pandas()), np.float64)
            yield pd.DataFrame(
                {
                    key: batch.column(key).to_pandas(),
                    "prediction": predicted,
                    "lower": np.maximum(predicted - half_width, 0.0),
                    "upper": np.maximum(predicted + half_width, 0.0),
                }
            )


def score(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version: Version, pipeline: Pipeline
) -> int:
    """Append the version's predictions for every published row, inside the caller's transaction; how many."""
    rows = 0
    for predicted in batches(con, exposure, publication, version, pipeline):
        con.register("predicted", predicted)
        con.execute(
            f"""
            insert into lake.ml."{exposure.spec.predictions}" by name
            select ? as exposure, ? as publication_id, predicted.*, ? as version_id, now() as predicted_at
            from predicted
            """,
            [exposure.name, publication.publication_id, version.version_id],
        )
        con.unregister("predicted")
        rows += len(predicted)
    return rows
