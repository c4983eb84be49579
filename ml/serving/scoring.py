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
from ml.lake.sql import listed, quoted
from ml.learning import candidates
from ml.learning.candidates import EstimatorError
from ml.learning.intervals import Spread
from ml.linear import predict_sql as linear_sql
from ml.progress import Progress, Say, following
from ml.records import predictions, scorings
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
    rows: str | None = None,
) -> Iterator[str]:
    """A table expression of key, prediction, lower, upper for every published row; it streams, and is read once.

    Args:
        rows: Those to be predicted, as a table expression; all of the publication where it is not given.

    An interval is the prediction plus and minus the half width that the version's spread gives for the row.

    Raises:
        ParityError: The predictions as SQL are not those of the estimator.
        EstimatorError: The estimator does not predict a finite number for each row; raised while it streams.
    """
    rows = rows or publication.table
    spread = Spread.from_json(version.parameters["spread"])
    key, half, ends = listed(exposure.spec.key_columns), spread.half_width_sql(), spread.ends_sql()
    if linear_sql.is_linear(estimator):
        first = con.execute(f"select {read_sql(version.kinds)} from {rows} limit {PARITY_ROWS}").df()
        linear_sql.check_parity(con, first, estimator, version.features)
        expression = linear_sql.predict_sql(estimator, version.features)
        with following(con, say, "predicting", publication.row_count):
            yield (
                f"(select {key}, prediction, {ends} from (select {key}, prediction, {half} as half "
                f"from (select *, {expression} as prediction from {rows})))"
            )
        return
    with con.cursor() as reader:
        failed: list[Exception] = []
        batches = _batches(reader, exposure, publication, version, estimator, say, failed, rows)
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
    rows: str,
) -> pa.RecordBatchReader:
    """Key, features and prediction of every row, some batches at a time, one on each core.

    Args:
        failed: To which what predicting raises is added.
    """
    key = listed(exposure.spec.key_columns)
    cores = int(reader.execute("select current_setting('threads')").fetchall()[0][0])
    read = reader.execute(f"select {key}, {read_sql(version.kinds)} from {rows}").to_arrow_reader(BATCH)
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
        for batch in workers(delayed(predict)(batch) for batch in read):
            progress.advance(batch.num_rows)
            yield batch

    return pa.RecordBatchReader.from_batches(read.schema.append(pa.field("prediction", pa.float64())), counted())


def score(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    estimator: Any,
    say: Say,
) -> int:
    """Append the version's predictions for every published row, inside the caller's transaction.

    Where the spec says `incremental`, and the version has predicted an older publication of the table, those rows alone
    are predicted that are new, or have another value of a feature.

    Returns:
        The number of rows that were predicted.

    Raises:
        ParityError: As `predicted`.
    """
    since = scorings.last(con, exposure, version, publication) if exposure.spec.incremental else None
    before = since.publication if since else None
    rows = _changed_sql(exposure, version, before, publication) if before else publication.table
    with predicted(con, exposure, publication, version, estimator, say, rows) as found:
        count = predictions.append(con, exposure, publication, version, found)
    if before:
        key = listed(exposure.spec.key_columns)
        gone = f"(select {key} from {before.table} anti join (from {publication.table}) using ({key}))"
        predictions.remove(con, exposure, publication, version, gone)
        of = f"{publication.row_count:,} rows, new or changed since {before.publication_id}"
        say(f"predicted {count:,} of {of}; the others stand")
    scorings.record(con, exposure, publication, version, count, since)
    return count


def _changed_sql(exposure: Exposure, version: Version, before: Publication, now: Publication) -> str:
    """The rows of a publication whose key, or a feature of theirs, was another in one before, as a table expression."""
    same = " and ".join(f"before.{name} is not distinct from now.{name}" for name in map(quoted, version.features))
    joined = " and ".join(f"before.{name} = now.{name}" for name in map(quoted, exposure.spec.key_columns))
    before_them = f"(from {before.table}) as before on {joined} and {same}"
    return f"(select now.* from (from {now.table}) as now anti join {before_them})"
