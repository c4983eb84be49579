"""Predictions of a published snapshot as rows of the warehouse: key, prediction, lower, upper, version."""

import duckdb
import numpy as np
import pyarrow as pa
from sklearn.pipeline import Pipeline

from ml.ledger import Publication
from ml.registry import Version
from ml.spec import Exposure

# Rows in memory at a time: 100,000 rows of 11 doubles are 9 MB, and larger batches were no faster.
BATCH = 100_000


def score(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    pipeline: Pipeline,
) -> int:
    """Append the version's predictions for every published row, inside the caller's transaction.

    Intervals are the prediction plus and minus the version's half width, never below zero, in the target's unit.

    Returns:
        The number of rows predicted.
    """
    key = exposure.spec.key
    numbers = ", ".join(f'cast("{name}" as double) as "{name}"' for name in version.features)
    half_width = float(version.parameters["half_width"])
    rows = 0
    with con.cursor() as reader:
        batches = reader.execute(f'select "{key}", {numbers} from {publication.table}').to_arrow_reader(BATCH)
        for batch in batches:
            features = batch.select(list(version.features)).to_pandas()
            predicted = np.asarray(pipeline.predict(features), dtype=np.float64)
            con.register(
                "predicted",
                pa.table(
                    {
                        key: batch.column(key),
                        "prediction": predicted,
                        "lower": np.maximum(predicted - half_width, 0.0),
                        "upper": np.maximum(predicted + half_width, 0.0),
                    }
                ),
            )
            con.execute(
                f"""
                insert into lake.ml."{exposure.spec.predictions}" by name
                select ? as exposure, ? as publication_id, predicted.*, ? as version_id, now() as predicted_at
                from predicted
                """,
                [exposure.name, publication.publication_id, version.version_id],
            )
            con.unregister("predicted")
            rows += batch.num_rows
    return rows
