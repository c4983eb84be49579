"""The error of earlier predictions, when a publication brings true values that their model never saw."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from ml import answers
from ml.exposures import Exposure
from ml.lake.sql import listed, literal, quoted
from ml.learning import folds
from ml.metrics import LEAST
from ml.records import champions, predictions, scorings, versions
from ml.records.publications import Publication
from ml.weights import weight_sql


@dataclass(frozen=True)
class LiveError:
    """Of one version, on the rows of a publication whose true value it did not know when it predicted them.

    Attributes:
        predicted_publication_id: The publication that the predictions were made for.
        row_count: The number of such rows among those that were read; at least one.
        coverage: Share of the true values that lie in the predicted interval, both ends included, or set.
        rmse, mae: Of numbers, in the target's unit.
        log_loss, brier_score, accuracy: Of classes.
    """

    version_id: str
    predicted_publication_id: str
    row_count: int
    coverage: float
    rmse: float | None = None
    mae: float | None = None
    log_loss: float | None = None
    brier_score: float | None = None
    accuracy: float | None = None


def measure(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, before: datetime | None = None
) -> list[LiveError]:
    """Compare the published target with the predictions that served when the publication came.

    Those are the predictions of the newest publication consumed before it, by each version that predicted it (two
    after a rollback). A row counts where the target differs from the one in the snapshot that the version learned
    from, or where that had no such key or no answer for it: what a version learned from says nothing of its error.
    Older predictions were replaced by these and are not read again, so the cost does not grow with the history: 0.1 s
    for 20,640 rows. Of a larger table about `max_rows` rows are read, the same keys on every side: of 10 million that
    takes 2.4 s and 0.4 GB; joining all rows takes 9.3 s and 1.4 GB.

    Args:
        before: When the publication was consumed; None where it is not yet.

    Returns:
        One for each version with such rows, by version_id; none where nothing was predicted, or no true value is new.
    """
    previous = champions.newest_predicted(con, exposure, before)
    if previous is None:
        return []
    spec = exposure.spec
    key, target = listed(spec.key_columns), quoted(spec.target)
    predicted_by = scorings.versions_of(con, exposure, previous.publication_id)
    learned_from = versions.learned_from(con, exposure, predicted_by)
    if not learned_from:
        return []
    rows = max(publication.row_count, previous.row_count)
    sampled = folds.sampled_sql(spec.key_columns, rows, exposure.sample_rows, spec.seed)
    of_classes = exposure.task == "classification"
    value = f"cast({target} as {'varchar' if of_classes else 'double'})"
    columns, measured = _CLASSES if of_classes else _NUMBERS
    weight = weight_sql(spec.weight) if spec.weight else "1e0"
    learned = " union all ".join(
        f"select '{version_id}' as version_id, {key}, {value} as learned from {table} where {sampled}"
        for version_id, table in learned_from.items()
    )
    predicted = " union all ".join(
        f"select version_id, {key}, {columns} "
        f"from {predictions.of_scoring(exposure, previous.publication_id, version_id)} where {sampled}"
        for version_id in learned_from
    )
    errors = con.execute(
        f"""
        with predicted as (
            {predicted}
        ),
        arrived as (
            select {key}, {value} as actual, {weight} as weight from {publication.table}
            where {sampled} and {answers.known_sql(spec.target)}
        ),
        learned as (
            {learned}
        )
        select
            predicted.version_id,
            count(*),
            {", ".join(measured.values())}
        from predicted
        inner join arrived using ({key})
        left join learned using (version_id, {key})
        where learned.learned is distinct from arrived.actual
        group by predicted.version_id
        order by predicted.version_id
        """
    ).fetchall()
    return [
        LiveError(version_id, previous.publication_id, rows, **dict(zip(measured, numbers, strict=True)))
        for version_id, rows, *numbers in errors
    ]


def _mean(losses: str) -> str:
    """Over rows, by what each counts."""
    return f"sum(arrived.weight * ({losses})) / sum(arrived.weight)"


# The columns of predictions, and what is measured of them beside the true value. What is covered are rows.
_NUMBERS = (
    "prediction, lower, upper",
    {
        "coverage": "avg(cast(arrived.actual between predicted.lower and predicted.upper as integer))",
        "rmse": f"sqrt({_mean('pow(predicted.prediction - arrived.actual, 2)')})",
        "mae": _mean("abs(predicted.prediction - arrived.actual)"),
    },
)
# As `measures.of_rows`; a class that the version does not know had the probability 0.
_TRUE = "coalesce(predicted.probabilities[arrived.actual], 0e0)"
_SQUARES = "list_sum(list_transform(map_values(predicted.probabilities), lambda p: p * p))"
_CLASSES = (
    "cast(prediction as varchar) as prediction, probabilities, prediction_set",
    {
        "coverage": "avg(cast(list_contains(predicted.prediction_set, arrived.actual) as integer))",
        "log_loss": _mean(f"-ln(least(greatest({_TRUE}, {literal(LEAST)}), 1e0))"),
        "brier_score": _mean(
            f"({_SQUARES} - 2 * {_TRUE} + 1) / case cardinality(predicted.probabilities) when 2 then 2 else 1 end"
        ),
        "accuracy": _mean("cast(predicted.prediction = arrived.actual as integer)"),
    },
)
