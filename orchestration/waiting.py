"""Publications that wait after runs that ended without consuming them: a check on the learned-from table."""

from collections.abc import Mapping, Sequence

import dagster as dg
import duckdb

from ml import lake
from ml.exposures import Exposure
from ml.records import publications
from orchestration import started
from orchestration.attempts import Run
from orchestration.door import watching
from orchestration.findings import Finding, Report, unreported
from orchestration.freshness import INTERVAL_SECONDS


def judge(exposure: Exposure, waiting: str | None, runs: Sequence[Run]) -> Finding:
    """What is found of an exposure.

    Args:
        waiting: The newest publication that it has not consumed; None where there is none.
        runs: Those that were started for it.
    """
    ended = [run for run in runs if run.publication_id == waiting and run.ended_at is not None]
    if waiting is None or not ended:
        return Finding(True, f"no publication of {exposure.relation} waits for {exposure.name} after a run that failed")
    last = max(ended, key=lambda run: run.number)
    which = "reached the rows" if last.reached else "did not reach the rows, and is tried again as long as it takes"
    return Finding(
        False,
        f"{waiting} waits for {exposure.name}: {len(ended)} run{'s' if len(ended) > 1 else ''} ended without consuming "
        f"it; the last {which}, and ended with: {last.error or 'nothing that it said'}",
    )


def check_name(exposure: Exposure) -> str:
    """The check's name on the learned-from table, of which there may be several exposures."""
    return f"{exposure.name}_consumes_it"


def find(con: duckdb.DuckDBPyConnection, instance: dg.DagsterInstance, exposure: Exposure) -> Finding:
    """What is found of an exposure in the lake, and in Dagster's runs."""
    waiting = publications.pending(con, exposure)
    runs = started.runs(instance, exposure, waiting, publications.ledger(con)) if waiting else []
    return judge(exposure, waiting[-1].publication_id if waiting else None, runs)


def asset_check(exposure: Exposure, features: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check, for running it by hand; the sensor below reports it by itself."""

    @dg.asset_check(
        asset=features,
        name=check_name(exposure),
        description=f"No publication waits for {exposure.name} after a run that ended without consuming it.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with lake.connect() as con:
            finding = find(con, context.instance, exposure)
        return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence)

    return check


def expect_consumptions(exposures: Sequence[Exposure], features: Mapping[str, dg.AssetKey]) -> dg.SensorDefinition:
    """The sensor that reports the checks when what they find changes; it starts no run."""
    return watching(
        "expect_consumptions",
        "Fails a check on a learned-from table while a publication waits after a run that failed.",
        INTERVAL_SECONDS,
        lambda context, con: tick(con, context.instance, exposures, features, context.cursor),
    )


def tick(
    con: duckdb.DuckDBPyConnection,
    instance: dg.DagsterInstance,
    exposures: Sequence[Exposure],
    features: Mapping[str, dg.AssetKey],
    cursor: str | None,
) -> dg.SensorResult:
    """What the sensor reports: each finding once, when it changes, and anew of each publication."""
    findings = {exposure.name: find(con, instance, exposure) for exposure in exposures}
    reports = {
        exposure.name: Report(
            features[exposure.relation],
            check_name(exposure),
            findings[exposure.name],
            f"{findings[exposure.name].sentence} {publications.last_published(con, exposure.relation)}",
        )
        for exposure in exposures
    }
    events, told = unreported(cursor, reports)
    said = " ".join(f"{finding.sentence}." for finding in findings.values())
    return dg.SensorResult(skip_reason=said, asset_events=events, cursor=told)
