"""Predictions of a published snapshot as rows of the warehouse: key, what is predicted, version.

A linear model predicts as SQL, where the rows are; any other sees Arrow batches. Neither copies the features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ml.columns import read_sql
from ml.exposures import Exposure
from ml.lake.engine import Here
from ml.lake.sql import listed, quoted
from ml.learning import engines, fits
from ml.learning.classification import Classification
from ml.learning.fits import EstimatorError
from ml.learning.intervals import HALF, Spread
from ml.linear import predict_sql as linear_sql
from ml.progress import Progress, Say, following
from ml.records import predictions, scorings
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
    rows: str | None = None,
) -> Iterator[str]:
    """A table expression of the key and what is predicted for every published row; it streams, and is read once.

    Of numbers these are prediction, lower and upper: an interval is the prediction plus and minus the half width that
    the version's spread gives for the row. Of classes they are prediction, probability, probabilities, prediction_set.

    Args:
        rows: Those to be predicted, as a table expression; all of the publication where it is not given.

    Raises:
        ParityError: The predictions as SQL are not those of the estimator.
        EstimatorError: The estimator does not predict a finite number, or probabilities, for each row; raised while it
            streams.
    """
    rows = rows or publication.table
    key = listed(exposure.spec.key_columns)
    if linear_sql.is_linear(estimator):
        check_parity(con, rows, version, estimator)
        expression = linear_sql.predict_sql(estimator, version.features)
        with following(con, say, "predicting", publication.row_count):
            yield in_sql(key, expression, rows, version)
        return
    with con.cursor() as reader:
        failed: list[Exception] = []
        batches = _batches(reader, exposure, publication, version, estimator, say, failed, rows)
        con.register("predicted_batches", batches)
        try:
            yield with_ends(key, "predicted_batches", version)
        except duckdb.Error:
            for error in failed:  # DuckDB says that a stream of Arrow ended, and not why
                if isinstance(error, MemoryError):
                    raise error from None
                where = f"Version {version.version_id} of {exposure.name}, {version.candidate}"
                raise EstimatorError(f"{where}, fails on {publication.publication_id}: {fits.said(error)}.") from error
            raise
        finally:
            con.unregister("predicted_batches")


def check_parity(con: duckdb.DuckDBPyConnection, rows: str, version: Version, estimator: Any) -> None:
    """See that a linear model's SQL predicts what it does, of the first rows of a table expression.

    Raises:
        ParityError: It does not.
    """
    first = con.execute(f"select {read_sql(version.kinds)} from {rows} limit {PARITY_ROWS}").df()
    linear_sql.check_parity(con, first, estimator, version.features)


def with_ends(key: str, batches: str, version: Version) -> str:
    """Of batches of numbers, the columns that are served; those of classes have them already."""
    if version.classification:
        return batches
    spread = Spread.from_json(version.parameters["spread"])
    half = spread.half_width_sql()
    return f"(select {key}, prediction, {spread.ends_sql()} from (select *, {half} as {quoted(HALF)} from {batches}))"


def in_sql(key: str, expression: str, table: str, version: Version) -> str:
    """The served columns where a prediction, or the probability of the second of two classes, is an expression."""
    if not version.classification:
        return with_ends(key, f"(select *, {expression} as prediction from {table})", version)
    served = Classification.from_json(version.classification).columns_sql(SECOND)
    return f"(select {key}, {served} from (select {key}, {expression} as {SECOND} from {table}))"


def _columns_of(version: Version) -> "Callable[[Any, pa.RecordBatch], dict[str, pa.Array]]":
    """What an estimator adds to a batch of features: the prediction, or all that is served of classes."""
    if not version.classification:
        return lambda estimator, batch: {"prediction": pa.array(fits.predictions(estimator, batch.to_pandas()))}
    made = Classification.from_json(version.classification)
    return lambda estimator, batch: made.columns(fits.probabilities(estimator, batch.to_pandas(), made.classes))


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
    """Key, features and prediction of every row, some batches at a time, one on each core; of classes, the key and all
    that is served.

    Args:
        failed: To which what predicting raises is added.
    """
    cores = Here(reader).threads
    key = list(exposure.spec.key_columns)
    read = reader.execute(f"select {listed(key)}, {read_sql(version.kinds)} from {rows}").to_arrow_reader(BATCH)
    progress = Progress(say, "predicting", publication.row_count)
    return estimated(read, key, version, estimator, failed, cores, progress.advance)


def estimated(
    read: pa.RecordBatchReader,
    key: Sequence[str],
    version: Version,
    estimator: Any,
    failed: list[Exception],
    cores: int = 1,
    done: Callable[[int], None] = lambda rows: None,
) -> pa.RecordBatchReader:
    """Key, features and prediction of batches of key and features; of classes, the key and all that is served.

    Args:
        failed: To which what predicting raises is added.
        done: Told how many rows of a batch are predicted.
    """
    serve = _columns_of(version)

    def predict(batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            with threadpool_limits(limits=1):  # a core a batch: OpenMP inside would take all cores again
                served = serve(estimator, batch.select(list(version.features)))
        except Exception as error:
            failed.append(error)
            raise
        kept = batch.select(list(key)) if version.classification else batch
        for name, values in served.items():
            kept = kept.append_column(name, values)
        return kept

    def counted() -> Iterator[pa.RecordBatch]:
        workers = Parallel(n_jobs=cores, backend="threading", return_as="generator", pre_dispatch=cores + 1)
        for batch in workers(delayed(predict)(batch) for batch in read):
            done(batch.num_rows)
            yield batch

    return pa.RecordBatchReader.from_batches(_schema(read.schema, key, version), counted())


def _schema(read: pa.Schema, key: Sequence[str], version: Version) -> pa.Schema:
    if not version.classification:
        return read.append(pa.field("prediction", pa.float64()))
    made = Classification.from_json(version.classification)
    served = made.columns(np.empty((0, len(made.classes))))
    return pa.schema(
        [*(read.field(name) for name in key), *(pa.field(name, values.type) for name, values in served.items())]
    )


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
    are predicted that are new, or have another value of a feature: by DuckDB, also where the spec names an engine.

    Returns:
        The number of rows that were predicted.

    Raises:
        ParityError, EstimatorError: As `predicted`.
        EngineError: The engine that the spec names fails.
    """
    since = scorings.last(con, exposure, version, publication) if exposure.spec.incremental else None
    before = since.publication if since else None
    if before is None and engines.is_spark(exposure, publication.row_count):
        from ml.serving import by_spark

        count = by_spark.score(con, exposure, publication, version, estimator)
        scorings.record(con, exposure, publication, version, count, None)
        return count
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
