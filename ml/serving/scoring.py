"""Predictions of a published snapshot as rows of the warehouse: key, prediction, lower, upper, version.

A linear model predicts as SQL, where the rows are; any other sees Arrow batches. Neither copies the features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ml.columns import read_sql
from ml.exposures import Exposure
from ml.lake.sql import listed
from ml.learning import candidates
from ml.learning.candidates import EstimatorError
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


@contextmanager
def predicted(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
) -> Iterator[str]:
    """A table expression of key, prediction, lower, upper for every published row; it streams, and is read once.

    An interval is the prediction plus and minus the half width that the version's spread gives for the row.

    Raises:
        ParityError: The predictions as SQL are not those of the estimator.
        EstimatorError: The estimator does not predict a finite number for each row; raised while it streams.
    """
    spread = Spread.from_json(version.parameters["spread"])
    key, half, ends = listed(exposure.spec.key_columns), spread.half_width_sql(), spread.ends_sql()
    if linear_sql.is_linear(estimator):
        first = con.execute(f"select {read_sql(version.kinds)} from {publication.table} limit {PARITY_ROWS}").df()
        linear_sql.check_parity(con, first, estimator, version.features)
        expression = linear_sql.predict_sql(estimator, version.features)
        with following(con, say, "predicting", publication.row_count):
            yield (
                f"(select {key}, prediction, {ends} from (select {key}, prediction, {half} as half "
                f"from (select *, {expression} as prediction from {publication.table})))"
            )
        return
    with con.cursor() as reader:
        failed: list[Exception] = []
        batches = _batches(reader, exposure, publication, version, estimator, say, failed)
        con.register("predicted_batches", batches)
        try:
            yield f"(select {key}, prediction, {ends} from (select *, {half} as half from predicted_batches))"
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


def _batches(
    reader: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
    failed: list[Exception],
) -> pa.RecordBatchReader:
    """Key, features and prediction of every published row, some batches at a time, one on each core.

    Args:
        failed: To which what predicting raises is added.
    """
    key = listed(exposure.spec.key_columns)
    cores = int(reader.execute("select current_setting('threads')").fetchall()[0][0])
    rows = reader.execute(f"select {key}, {read_sql(version.kinds)} from {publication.table}").to_arrow_reader(BATCH)
    progress = Progress(say, "predicting", publication.row_count)

    def predict(batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            with threadpool_limits(limits=1):  # a core a batch: OpenMP inside would take all cores again
                values = candidates.predictions(estimator, batch.select(list(version.features)).to_pandas())
        except Exception as error:
            failed.append(error)
            raise
        return batch.append_column("prediction", pa.array(values, pa.float64()))

    def counted() -> Iterator[pa.RecordBatch]:
        workers = Parallel(n_jobs=cores, backend="threading", return_as="generator", pre_dispatch=cores + 1)
        for batch in workers(delayed(predict)(batch) for batch in rows):
            progress.advance(batch.num_rows)
            yield batch

    return pa.RecordBatchReader.from_batches(rows.schema.append(pa.field("prediction", pa.float64())), counted())


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
