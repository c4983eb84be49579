"""Predictions made by the engine's tasks, written as files below the data path, and adopted in the caller's commit.

A linear model predicts as the SQL that DuckDB would run here; any other is sent to the tasks as the bytes of its
artifact, whose sha256 was checked. A task that is tried again, or runs twice, leaves nothing twice: the engine commits
one attempt a part, and what is adopted is counted.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from ml.columns import read_sql
from ml.exposures import Exposure
from ml.lake import IN_UTC, adoption, artifacts
from ml.lake.sql import listed
from ml.linear import predict_sql as linear_sql
from ml.records import predictions
from ml.records.publications import Publication
from ml.records.versions import Version
from ml.serving import scoring
from ml.spark import tables, tasks
from ml.spark.engine import Spark
from ml.spark.session import EngineError, session

# Bytes of an artifact that travel with a query; gRPC's messages, and what each task holds, set the bound.
LARGEST = 64_000_000


def score(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version: Version, estimator: Any
) -> int:
    """Append the version's predictions for every published row, inside the caller's transaction; how many.

    Raises:
        ParityError: The predictions as SQL are not those of the estimator.
        ArtifactError: The artifact is not the one recorded.
        EngineError: The engine is not there or fails, the artifact is too large to be sent, or rows are missing.
    """
    name = exposure.spec.predictions_table
    columns = predictions.columns(con, exposure)
    rows = Spark(con, publication.relation, publication.snapshot_id, publication.table)
    task = _task(con, exposure, publication, version, estimator, rows.columns, columns)
    place = adoption.directory(con, "ml", name)
    with session() as spark:
        needed = f"{listed(exposure.spec.key_columns)} {listed(version.features)}"
        frame, read = rows.frame(spark, needed)
        made = frame.mapInArrow(partial(task, read), tables.ddl(columns, f"predictions of {exposure.name}"))
        tables.write(made, place)
    files = adoption.files(con, place)
    count = adoption.count(con, files)
    if count != publication.row_count:
        raise EngineError(
            f"The engine predicted {count:,} of {publication.row_count:,} rows of {publication.publication_id}: "
            "nothing is kept of them. Its log says more; without `engine: spark` DuckDB predicts."
        )
    predictions.adopt(con, exposure, publication, version, files, count)
    return count


def _task(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    kinds: Mapping[str, str],
    columns: Mapping[str, str],
) -> Any:
    """What makes the rows of the table of predictions of a part of the published ones, given the columns of those."""
    key = listed(exposure.spec.key_columns)
    if linear_sql.is_linear(estimator):
        scoring.check_parity(con, publication.table, version, estimator)
        expression = linear_sql.predict_sql(estimator, version.features)
        served = scoring.in_sql(key, expression, "published", version)
        made = predictions.rows_sql(con, exposure, publication, version, served, columns)
        return partial(tasks.stream, made, tasks.packages())
    content = artifacts.read(con, version.artifact)
    if len(content) > LARGEST:
        raise EngineError(
            f"Version {version.version_id} of {exposure.name} is {len(content) / 1e6:.0f} MB, and a query takes "
            f"{LARGEST / 1e6:.0f} MB of a model to an engine's tasks: leave `engine: spark` out, and DuckDB's process "
            "predicts."
        )
    served = scoring.with_ends(key, "predicted_batches", version)
    made = predictions.rows_sql(con, exposure, publication, version, served, columns)
    types = {name: kinds[name] for name in exposure.spec.key_columns}
    return partial(_estimated, content, version, types, made, tasks.packages())


def _estimated(
    content: bytes,
    version: Version,
    key: Mapping[str, str],
    sql: str,
    wanted: Mapping[str, str],
    columns: Mapping[str, str],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    import joblib

    if hashlib.sha256(content).hexdigest() != version.artifact.sha256:
        raise RuntimeError(f"the artifact of version {version.version_id} arrived changed")
    estimator = joblib.load(io.BytesIO(content))
    failed: list[Exception] = []
    with tasks.published(batches, columns, wanted) as con, duckdb.connect(config={"threads": 1}) as out:
        out.execute(IN_UTC)
        read = con.execute(f"select {listed(key)}, {read_sql(version.kinds)} from published").to_arrow_reader(
            scoring.BATCH
        )
        made = scoring.estimated(read, list(key), version, estimator, failed)
        out.register("predicted_batches", made)
        try:
            yield from out.execute(sql).to_arrow_reader(scoring.BATCH)
        except duckdb.Error:
            for error in failed:  # DuckDB says that a stream ended, and not why
                raise error from None
            raise
