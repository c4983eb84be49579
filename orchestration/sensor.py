"""The sensor that follows ops.publications: one run for each exposure's newest publication not yet consumed."""

import json
import time
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import duckdb
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ml import completion, consumption
from ml.exposures import Exposure
from ml.lake.locks import LockTimeoutError
from ml.records import completions, followed, migrations, publications
from ml.records.publications import Publication
from orchestration import started
from orchestration.assets.dbt import built_by
from orchestration.assets.model import selection
from orchestration.attempts import EXPOSURE, LEDGER, PUBLICATION, TRY, GiveUp, Start, decide
from orchestration.door import Door
from orchestration.stack.dagster import PROJECT, SENSOR

# The daemon looks at its sensors every 5 s anyway; an idle tick costs one small query.
INTERVAL_SECONDS = 2


def follow_publications(
    exposures: Sequence[Exposure],
    features: Mapping[str, dg.AssetKey],
    job: UnresolvedAssetJobDefinition,
    loaded: str,
) -> dg.SensorDefinition:
    """The sensor.

    Args:
        features: The asset of each learned-from relation.
        loaded: The project's identity when these definitions were loaded, to be seen from outside.
    """
    door = Door()

    @dg.sensor(
        name=SENSOR,
        description="Starts a run for an exposure and the newest publication of its table that was not consumed yet.",
        job=job,
        tags={PROJECT: loaded},
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def follow(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        def made(exposure: Exposure) -> Sequence[dg.AssetKey] | None:
            if len(exposures) == 1:
                return None  # the whole job, which Dagster has ready
            assert context.repository_def is not None
            return sorted(selection([exposure]).resolve(context.repository_def.asset_graph))

        return door.tick(lambda con: _tick(context, con, exposures, features, made))

    return follow


def _tick(
    context: dg.SensorEvaluationContext,
    con: duckdb.DuckDBPyConnection,
    exposures: Sequence[Exposure],
    features: Mapping[str, dg.AssetKey],
    made: Callable[[Exposure], Sequence[dg.AssetKey] | None],
) -> dg.SensorResult:
    row = con.execute("select id from lake.current_snapshot()").fetchone()
    assert row is not None
    ledger = publications.ledger(con)
    looked = json.dumps(
        {"lake": ledger, "snapshot": row[0], "exposures": {one.name: one.revision() for one in exposures}}
    )
    if context.cursor == looked:
        return dg.SensorResult(skip_reason=f"Nothing was committed since snapshot {row[0]}.", cursor=looked)
    migrations.check(*migrations.state(con))  # an earlier lake is brought up to date by the run that is started
    followed.follow(con, exposures)
    said, requests, settled = [], [], True
    events: dict[str, dg.AssetMaterialization] = {}  # by publication: two exposures may learn from one table
    for exposure in exposures:
        waiting = publications.pending(con, exposure)
        news = [p for p in waiting if _is_news(context, features[p.relation], p, ledger)]
        events |= {p.publication_id: _event(features[p.relation], p, ledger) for p in news}
        unmeasured = [] if waiting else [one.publication for one in completions.pending(con, exposure)]
        if not waiting and not unmeasured:
            said.append(f"{exposure.name}: every publication of {exposure.relation} is consumed.")
            continue
        settled = False
        # a run that was killed between its commit and what is measured after it is followed by another
        newest = (waiting or unmeasured)[-1]
        runs = started.runs(context.instance, exposure, waiting or unmeasured, ledger)
        decision = decide(newest.publication_id, runs, time.time())
        if isinstance(decision, Start):
            said.append(
                f"{exposure.name}: {newest.publication_id}, {newest.row_count:,} rows by {newest.built_by}, "
                f"is not {'consumed' if waiting else 'measured'} yet: starts try {decision.number}."
            )
            requests.append(_request(exposure, newest, decision.number, ledger, made(exposure)))
        elif isinstance(decision, GiveUp):
            try:
                give_up = consumption.give_up if waiting else completion.give_up
                give_up(exposure, newest.publication_id, decision.reason)
                said.append(f"{exposure.name}: gives up {newest.publication_id}: {decision.reason}.")
            except LockTimeoutError as error:  # a tick that waited for a search would hold up every exposure
                said.append(f"{exposure.name}: would give up {newest.publication_id}. {error}")
        else:
            said.append(f"{exposure.name}: {newest.publication_id} waits: {decision.why}.")
    for sentence in said:
        context.log.info(sentence)
    return dg.SensorResult(
        run_requests=requests,
        asset_events=list(events.values()),
        skip_reason=None if requests else " ".join(said),
        # While a publication waits, the next tick looks again, though nothing new was committed.
        cursor=looked if settled else None,
    )


def _request(
    exposure: Exposure, publication: Publication, number: int, ledger: str, made: Sequence[dg.AssetKey] | None
) -> dg.RunRequest:
    return dg.RunRequest(
        asset_selection=made,
        # Dagster starts one run a key, so a tick that was cut off and repeated, or a wiped cursor, starts no second.
        # A lake that was there before had publications of the same names, and Dagster's database has its keys still.
        run_key=f"{exposure.name} {publication.publication_id} of {ledger} try {number}",
        tags={
            EXPOSURE: exposure.name,
            PUBLICATION: publication.publication_id,
            TRY: str(number),
            LEDGER: ledger,
        },
    )


def _event(key: dg.AssetKey, publication: Publication, ledger: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        description=f"Built and tested outside Dagster, by {publication.built_by}.",
        metadata={
            "publication": publication.publication_id,
            "snapshot": publication.snapshot_id,
            "lake": ledger,
            "dbt invocation": publication.invocation_id,
            "built by": publication.built_by,
            "fingerprint": publication.fingerprint,
            "dagster/row_count": publication.row_count,
        },
    )


def _is_news(context: dg.SensorEvaluationContext, key: dg.AssetKey, publication: Publication, ledger: str) -> bool:
    """Whether Dagster does not know of this build: it did not run it, and it was not told by an earlier tick."""
    if publication.built_by.startswith(built_by("")):
        return False
    event = context.instance.get_latest_materialization_event(key)
    told = event.asset_materialization.metadata if event and event.asset_materialization else {}
    if "snapshot" not in told or ("lake" in told and told["lake"].value != ledger):
        return True
    return int(json.loads(str(told["snapshot"].value))) < publication.snapshot_id
