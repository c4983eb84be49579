"""Publications that do not come in time: a check on the learned-from table, failed while one is late."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb

from ml import lake
from ml.exposures import Exposure
from ml.lake import locks
from ml.lake.locks import LockTimeoutError
from ml.records import migrations, notices, publications
from orchestration.door import watching
from orchestration.findings import Finding, Report, unreported

INTERVAL_SECONDS = 60  # lateness is counted in hours


def judge(exposure: Exposure, published_at: datetime | None, now: datetime) -> Finding | None:
    """The finding for an exposure; None while nothing was ever published, when nobody can say since when it is late."""
    if published_at is None:
        return None
    allowed = timedelta(hours=exposure.spec.fresh_within_hours)
    age = now - published_at
    told = f"{exposure.relation} was published at {published_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if age <= allowed:
        return Finding(True, f"{told}; the next is due within {exposure.spec.fresh_within_hours:g} hours of it")
    return Finding(
        False,
        f"{told}, {age.total_seconds() / 3600:.1f} hours ago; {exposure.name} expects a publication every "
        f"{exposure.spec.fresh_within_hours:g} hours (meta.ml.fresh_within_hours). See why no build passed its tests.",
    )


def check_name(exposure: Exposure) -> str:
    """The check's name on the learned-from table; two exposures on one table may expect different things."""
    return f"{exposure.identifier}_published_in_time"


def asset_check(exposure: Exposure, features: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check, for running it by hand; the sensor below reports it by itself."""

    @dg.asset_check(
        asset=features,
        name=check_name(exposure),
        description=f"Published within {exposure.spec.fresh_within_hours:g} hours, as {exposure.name} expects.",
    )
    def check() -> dg.AssetCheckResult:
        with lake.connect() as con:
            finding = judge(exposure, publications.last_published(con, exposure.relation), datetime.now(UTC))
        if finding is None:
            return dg.AssetCheckResult(passed=False, description=f"{exposure.relation} was never published")
        return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence)

    return check


def expect_publications(exposures: Sequence[Exposure], features: Mapping[str, dg.AssetKey]) -> dg.SensorDefinition:
    """The sensor that reports the checks when what they find changes, and notes what is late; it starts no run."""
    return watching(
        "expect_publications",
        "Fails a check on a learned-from table when no publication of it comes in time.",
        INTERVAL_SECONDS,
        lambda context, con: tick(con, exposures, features, context.cursor, datetime.now(UTC)),
    )


def tick(
    con: duckdb.DuckDBPyConnection,
    exposures: Sequence[Exposure],
    features: Mapping[str, dg.AssetKey],
    cursor: str | None,
    now: datetime,
) -> dg.SensorResult:
    """What the sensor reports: each finding once, when it changes, and anew of each publication.

    Dagster counts a check that is older than its asset's last materialization as not passed.
    """
    reports, said = {}, []
    for exposure in exposures:
        published_at = publications.last_published(con, exposure.relation)
        finding = judge(exposure, published_at, now)
        if finding is None:
            said.append(f"{exposure.relation} was never published.")
            continue
        said.append(f"{finding.sentence}.")
        if not finding.passed:
            _note(con, exposure, finding)
        state = f"{finding.passed} {published_at}"
        reports[exposure.name] = Report(features[exposure.relation], check_name(exposure), finding, state)
    events, told = unreported(cursor, reports)
    return dg.SensorResult(skip_reason=" ".join(said), asset_events=events, cursor=told)


def _note(con: duckdb.DuckDBPyConnection, exposure: Exposure, finding: Finding) -> None:
    """Note for who is told that nothing followed the last publication in time: once, in a commit of its own.

    Not in a lake of an earlier release, which the next build brings up to date.
    """
    about = publications.last_id(con, exposure.relation)
    if about is None or migrations.state(con)[1] != migrations.LATEST or notices.noted(con, exposure, "late", about):
        return
    with suppress(LockTimeoutError), locks.lock(f"note {exposure.name}", timeout=1) as confirm:  # another tick does it
        if notices.noted(con, exposure, "late", about):
            return
        with lake.transaction(con, "ml", f"{exposure.name} {about} is followed by none in time", confirm):
            notices.note(con, exposure, "late", about, finding.sentence)
