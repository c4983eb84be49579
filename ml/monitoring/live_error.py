"""How wrong standing predictions turn out to be, when a publication brings true values that their model never saw."""

from dataclasses import dataclass

import duckdb

from ml.exposures import Exposure
from ml.lake.sql import quoted
from ml.learning import folds
from ml.records import champions, predictions, versions
from ml.records.publications import Publication


@dataclass(frozen=True)
class LiveError:
    """Of one version, on the rows of a publication whose true value it did not know when it predicted them.

    Attributes:
        predicted_publication_id: Under which its predictions of these rows stood.
        row_count: Rows that they are, of those that were looked at; at least one.
        rmse, mae: In the target's unit.
        coverage: Share of the true values that lie in the predicted interval, both ends included.
    """

    version_id: str
    predicted_publication_id: str
    row_count: int
    rmse: float
    mae: float
    coverage: float


def measure(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication) -> list[LiveError]:
    """Hold the published target against the predictions that stood when the publication came.

    Those are the predictions of the newest publication consumed before it, by each version that predicted it (two
    after a rollback). A row counts where the target differs from the one in the snapshot that the version learned
    from, or where that had no such key: what a version learned from says nothing of its error. Older predictions were
    replaced by these and are not looked at again, so the cost does not grow with the history: 0.1 s for 20,640 rows.
    Of a larger table about `max_rows` rows are looked at, the same keys on every side: of 10 million that takes 2.4 s
    and 0.4 GB, where joining them all takes 9.3 s and 1.4 GB.

    Returns:
        One for each version with such rows, by version_id; none where nothing stood, or no true value is new.
    """
    stood = champions.newest_predicted(con, exposure)
    if stood is None:
        return []
    spec = exposure.spec
    key, target = quoted(spec.key), quoted(spec.target)
    predicted_by = predictions.versions_of(con, exposure, stood.publication_id)
    learned_from = versions.learned_from(con, exposure, predicted_by)
    if not learned_from:
        return []
    rows = max(publication.row_count, stood.row_count)
    looked_at = folds.sampled_sql(spec.key, rows, spec.max_rows, spec.seed)
    learned = " union all ".join(
        f"select '{version_id}' as version_id, {key}, cast({target} as double) as learned "
        f"from {table} where {looked_at}"
        for version_id, table in learned_from.items()
    )
    found = con.execute(
        f"""
        with stood as (
            select version_id, {key}, prediction, lower, upper
            from {predictions.table(exposure)}
            where exposure = ? and publication_id = ? and {looked_at}
        ),
        arrived as (
            select {key}, cast({target} as double) as actual from {publication.table} where {looked_at}
        ),
        learned as (
            {learned}
        )
        select
            stood.version_id,
            count(*),
            sqrt(avg(pow(stood.prediction - arrived.actual, 2))),
            avg(abs(stood.prediction - arrived.actual)),
            avg(cast(arrived.actual between stood.lower and stood.upper as integer))
        from stood
        inner join arrived using ({key})
        left join learned on learned.version_id = stood.version_id and learned.{key} = stood.{key}
        where learned.learned is distinct from arrived.actual and stood.version_id in (from unnest(?))
        group by stood.version_id
        order by stood.version_id
        """,
        [exposure.name, stood.publication_id, list(learned_from)],
    ).fetchall()
    return [LiveError(version_id, stood.publication_id, *numbers) for version_id, *numbers in found]
