"""Predictions of a published snapshot as rows of the warehouse: key, what is predicted, version.

A linear model predicts as SQL, where the rows are; any other sees Arrow batches. Neither copies the features.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ml.columns import read_sql
from ml.exposures import Exposure
from ml.lake.sql import quoted
from ml.learning import candidates
from ml.learning.candidates import EstimatorError
from ml.learning.classification import Classification
from ml.learning.intervals import Spread
from ml.linear import predict_sql as linear_sql
from ml.progress import Progress, Say, following
from ml.records import predictions
from ml.records.publications import Publication
from ml.records.versions import Version

# Rows in memory at a time and core: 100,000 rows of 11 doubles are 9 MB, and larger batches were no faster.
BATCH = 100_000
# Rows of the snapshot on which SQL and scikit-learn are compared before every scoring, in 0.1 s.
PARITY_ROWS = 20_000
SECOND = '"probability of the second class"'


@contextmanager
def predicted(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
) -> Iterator[str]:
    """A table expression of the key and what is predicted for every published row; it streams, and is read once.

    Of numbers these are prediction, lower and upper: an interval is the prediction plus and minus the half width that
    the version's spread gives for the row. Of classes they are prediction, probability, probabilities, prediction_set.

    Raises:
        ParityError: The predictions as SQL are not those of the estimator.
        EstimatorError: The estimator does not predict a finite number, or probabilities, for each row; raised while it
            streams.
    """
    serve = _columns_of(version)
    key = quoted(exposure.spec.key)
    if linear_sql.is_linear(estimator):
        first = con.execute(f"select {read_sql(version.kinds)} from {publication.table} limit {PARITY_ROWS}").df()
        linear_sql.check_parity(con, first, estimator, version.features)
        expression = linear_sql.predict_sql(estimator, version.features)
        with following(con, say, "predicting", publication.row_count):
            yield _in_sql(key, expression, publication.table, version)
        return
    with con.cursor() as reader:
        failed: list[Exception] = []
        batches = _batches(reader, exposure, publication, version, estimator, say, failed, serve)
        con.register("predicted_batches", batches)
        try:
            yield _with_ends(key, "predicted_batches", version)
        except duckdb.Error:
            for error in failed:  # DuckDB says that a stream of Arrow ended, and not why
                if isinstance(error, MemoryError):
                    raise error from None
                where = f"Version {version.version_id} of {exposure.name}, {version.candidate}"
                raise EstimatorError(
                    f"{where}, fails on {publication.publication_id}: {candidates.said(error)}."
                ) from error
            raise
        finally:
            con.unregister("predicted_batches")


def _with_ends(key: str, batches: str, version: Version) -> str:
    """Of batches of numbers, the columns that are served; those of classes have them already."""
    if version.classification:
        return batches
    spread = Spread.from_json(version.parameters["spread"])
    half = spread.half_width_sql()
    return f"(select {key}, prediction, {spread.ends_sql()} from (select *, {half} as half from {batches}))"


def _in_sql(key: str, expression: str, table: str, version: Version) -> str:
    """The served columns where a prediction, or the probability of the second of two classes, is an expression."""
    if not version.classification:
        return _with_ends(key, f"(select *, {expression} as prediction from {table})", version)
    served = Classification.from_json(version.classification).columns_sql(SECOND)
    return f"(select {key}, {served} from (select {key}, {expression} as {SECOND} from {table}))"


def _columns_of(version: Version) -> "Callable[[Any, pa.RecordBatch], dict[str, pa.Array]]":
    """What an estimator adds to a batch of features: the prediction, or all that is served of classes."""
    if not version.classification:
        return lambda estimator, batch: {"prediction": pa.array(candidates.predictions(estimator, batch.to_pandas()))}
    made = Classification.from_json(version.classification)
    return lambda estimator, batch: made.columns(candidates.probabilities(estimator, batch.to_pandas(), made.classes))


def _batches(
    reader: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
    failed: list[Exception],
    serve: "Callable[[Any, pa.RecordBatch], dict[str, pa.Array]]",
) -> pa.RecordBatchReader:
    """Key, features and prediction of every published row, some batches at a time, one on each core; of classes, the
    key and all that is served.

    Args:
        failed: To which what predicting raises is added.
        serve: As `_columns_of` gives it.
    """
    key = exposure.spec.key
    cores = int(reader.execute("select current_setting('threads')").fetchall()[0][0])
    rows = reader.execute(f"select {quoted(key)}, {read_sql(version.kinds)} from {publication.table}").to_arrow_reader(
        BATCH
    )
    progress = Progress(say, "predicting", publication.row_count)

    def predict(batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            with threadpool_limits(limits=1):  # a core a batch: OpenMP inside would take all cores again
                served = serve(estimator, batch.select(list(version.features)))
        except Exception as error:
            failed.append(error)
            raise
        kept = batch.select([key]) if version.classification else batch
        for name, values in served.items():
            kept = kept.append_column(name, values)
        return kept

    def counted() -> Iterator[pa.RecordBatch]:
        workers = Parallel(n_jobs=cores, backend="threading", return_as="generator", pre_dispatch=cores + 1)
        for batch in workers(delayed(predict)(batch) for batch in rows):
            progress.advance(batch.num_rows)
            yield batch

    return pa.RecordBatchReader.from_batches(_schema(rows.schema, key, version), counted())


def _schema(read: pa.Schema, key: str, version: Version) -> pa.Schema:
    if not version.classification:
        return read.append(pa.field("prediction", pa.float64()))
    made = Classification.from_json(version.classification)
    served = made.columns(np.empty((0, len(made.classes))))
    return pa.schema([read.field(key), *(pa.field(name, values.type) for name, values in served.items())])


def score(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
) -> int:
    """Append the version's predictions for every published row, inside the caller's transaction.

    Returns:
        The number of rows.

    Raises:
        ParityError: As `predicted`.
    """
    with predicted(con, exposure, publication, version, estimator, say) as rows:
        return predictions.append(con, exposure, publication, version, rows)
