"""What a person is shown of the ledgers as they are now: publications and what came of them, champions, movement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from ml.environments import PRODUCTION
from ml.numbers import figure
from ml.spec import MEAN

# The metrics that ml.live_errors has.
LIVE = ("rmse", "mae", "log_loss", "brier_score", "accuracy")


@dataclass(frozen=True)
class Followed:
    """A publication, and what came of it in one exposure that reads its table; None where none has read it yet.

    Attributes:
        pending: Whether it is consumed, and what is measured after that commit is not there yet.
    """

    publication_id: str
    row_count: int
    published_at: datetime
    built_by: str
    exposure: str | None
    outcome: str | None
    reason: str | None
    consumed_at: datetime | None
    pending: bool


@dataclass(frozen=True)
class Serving:
    """An exposure's champion, how good it was held out by the split that it was judged by, since when and why.

    Attributes:
        metric, value: That the gate judged it by.
    """

    exposure: str
    version_id: str
    candidate: str
    metric: str
    value: float
    split: str
    coverage: float
    promoted_at: datetime
    promoted_by: str
    reason: str


@dataclass(frozen=True)
class Learned:
    """A version, and a metric of it by the split that it was judged by.

    Attributes:
        mean: Of the mean predictor beside it.
        live: On true values that came later, the newest; None where none came, or where it is not measured so.
        served: Whether it was ever the champion.
    """

    version_id: str
    candidate: str
    publication_id: str
    trained_at: datetime
    value: float
    mean: float | None
    live: float | None
    served: bool


def followed(con: duckdb.DuckDBPyConnection, last: int, environment: str = PRODUCTION) -> list[Followed]:
    """The last publications, newest first, with what came of each in each exposure that has read its table.

    Args:
        environment: Whose exposures, and the tables that they have read; a table that nobody has read yet is anybody's.
    """
    rows = con.execute(
        """
        with consumptions as (
            select * from lake.ops.consumptions
        ),
        read as (
            select distinct consumptions.exposure, seen.relation
            from consumptions
            inner join lake.ops.publications as seen on consumptions.publication_id = seen.publication_id
        ),
        exposures as (
            select * from read where split_part(exposure, '.', -2) = $environment
        ),
        publications as (
            select * from lake.ops.publications
            where relation in (select relation from exposures) or relation not in (select relation from read)
            order by published_at desc, snapshot_id desc limit $last
        )
        select
            publications.publication_id, publications.row_count, publications.published_at, publications.built_by,
            exposures.exposure, consumptions.outcome, consumptions.reason, consumptions.consumed_at,
            consumptions.input_hash is not null and completions.completed_at is null as pending
        from publications
        left join exposures on publications.relation = exposures.relation
        left join consumptions
            on publications.publication_id = consumptions.publication_id
            and exposures.exposure = consumptions.exposure
        left join lake.ops.completions as completions
            on consumptions.publication_id = completions.publication_id
            and consumptions.exposure = completions.exposure
        order by publications.published_at desc, publications.snapshot_id desc, exposures.exposure
        """,
        {"last": last, "environment": environment},
    ).fetchall()
    return [Followed(*row) for row in rows]


def environments_with_champions(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The environments other than production in which something serves, by name."""
    rows = con.execute(
        "select distinct split_part(exposure, '.', 1) from lake.ml.champions where contains(exposure, '.') order by 1"
    ).fetchall()
    return [row[0] for row in rows]


def serving(con: duckdb.DuckDBPyConnection) -> list[Serving]:
    """The champion of each exposure, by name."""
    rows = con.execute(
        """
        with metrics as (
            select
                versions.exposure, versions.version_id, versions.candidate,
                json_extract_string(versions.spec, '$.split') as split,
                coalesce(
                    json_extract_string(versions.spec, '$.metric'),
                    case when bool_or(metrics.metric = 'rmse') then 'rmse' else 'log_loss' end
                ) as metric,
                map(list(metrics.metric), list(metrics.value)) as found
            from lake.ml.model_versions as versions
            inner join lake.ml.model_metrics as metrics
                on versions.exposure = metrics.exposure
                and versions.version_id = metrics.version_id
                and versions.candidate = metrics.candidate
                and json_extract_string(versions.spec, '$.split') = metrics.split
            where metrics.slice = 'all'
            group by versions.exposure, versions.version_id, versions.candidate, versions.spec
        )
        select
            champions.exposure, champions.version_id, metrics.candidate, metrics.metric, metrics.found[metrics.metric],
            metrics.split, metrics.found['coverage'],
            champions.promoted_at, champions.promoted_by, champions.reason
        from lake.ml.champions as champions
        inner join metrics
            on champions.exposure = metrics.exposure and champions.version_id = metrics.version_id
        order by champions.exposure
        """
    ).fetchall()
    return [Serving(*row) for row in rows]


def learned(con: duckdb.DuckDBPyConnection, exposure_name: str, metric: str = "rmse") -> list[Learned]:
    """Each version that an exposure learned and that has the metric, the oldest first, held out and live."""
    rows = con.execute(
        f"""
        with live_errors as (
            select version_id, max_by({metric if metric in LIVE else "null::double"}, measured_at) as value
            from lake.ml.live_errors
            where exposure = $exposure
            group by version_id
        )
        select
            versions.version_id, versions.candidate, versions.publication_id, versions.trained_at,
            max(metrics.value) filter (where metrics.candidate = versions.candidate) as value,
            max(metrics.value) filter (where metrics.candidate = $mean) as mean,
            any_value(live_errors.value) as live,
            versions.version_id in (select version_id from lake.ml.promotions where exposure = $exposure) as served
        from lake.ml.model_versions as versions
        inner join lake.ml.model_metrics as metrics
            on versions.exposure = metrics.exposure
            and versions.version_id = metrics.version_id
            and json_extract_string(versions.spec, '$.split') = metrics.split
        left join live_errors on versions.version_id = live_errors.version_id
        where versions.exposure = $exposure and metrics.slice = 'all' and metrics.metric = $metric
        group by all
        order by versions.trained_at
        """,
        {"exposure": exposure_name, "mean": MEAN, "metric": metric},
    ).fetchall()
    return [Learned(*row) for row in rows]


def most_moved(con: duckdb.DuckDBPyConnection) -> list[tuple[str, dict[str, Any], int]]:
    """Of each exposure's newest publication that was compared: the row of ml.drift of the column that moved most, and
    how many columns are above PSI 0.1.
    """
    return con.execute(
        """
        select exposure, max_by(drift, psi), count(*) filter (where psi > 0.1)
        from lake.ml.drift as drift
        where measured_at = (select max(measured_at) from lake.ml.drift as newer where newer.exposure = drift.exposure)
        group by exposure
        order by exposure
        """
    ).fetchall()


def live_errors(con: duckdb.DuckDBPyConnection) -> list[tuple[str, dict[str, Any]]]:
    """Each exposure's newest row of ml.live_errors."""
    return con.execute(
        """
        select exposure, max_by(live_errors, measured_at)
        from lake.ml.live_errors as live_errors
        group by exposure
        order by exposure
        """
    ).fetchall()


def turned_out(live_error: Mapping[str, Any]) -> str:
    """What a row of ml.live_errors measured, in words: `RMSE 49,200`, or `log loss 0.31, accuracy 87.2%`."""
    if live_error["rmse"] is not None:
        return f"RMSE {figure(live_error['rmse'])}"
    return f"log loss {figure(live_error['log_loss'])}, accuracy {live_error['accuracy']:.1%}"


def has_tables(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything was ever built in this lake."""
    found = con.execute(
        "select count(*) from duckdb_tables() where database_name = 'lake' and schema_name = 'ops' "
        "and table_name = 'publications'"
    ).fetchone()
    return bool(found and found[0])
