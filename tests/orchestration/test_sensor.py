"""What a tick looks for: the exposures as they are, in this lake and no other."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from ml import completion, lake
from ml.exposures import Exposure
from ml.lake.locks import LockLostError
from ml.learning.published import RowsError
from ml.records import migrations, publications
from orchestration import waiting
from orchestration.attempts import EXPOSURE, LEDGER, PUBLICATION, TRIES, TRY
from orchestration.errors import told
from orchestration.sensor import _tick
from tests.conftest import new_lake
from tests.ml.conftest import POINTS

PUBLISHED = "features.points@7"
KEY = dg.AssetKey(["features", "points"])
OTHER = replace(POINTS, name="other")


@contextmanager
def a_lake(servers: Path, home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new lake with one publication, under the same name in each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(new_lake(servers, home)))
        with lake.connect() as con:
            for statement in migrations.statements(set(), 0, [POINTS]):
                con.execute(statement)
            con.execute(
                """
                insert into lake.ops.publications by name
                select
                    'features.points@7' as publication_id, 'features.points' as relation, 7 as snapshot_id,
                    'same' as fingerprint, '1' as duckdb_version, 400 as row_count, 'one' as invocation_id,
                    'someone' as built_by, null as git_commit, now() as published_at
                """
            )
            yield con


def consumed(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    con.execute(
        "insert into lake.ops.consumptions by name select ? as exposure, ? as publication_id, 'trained' as outcome, "
        "'first' as reason, now() as consumed_at",
        [exposure.name, PUBLISHED],
    )


def tick(
    con: duckdb.DuckDBPyConnection, instance: dg.DagsterInstance, exposures: Sequence[Exposure], cursor: str | None
) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return _tick(context, con, exposures, {POINTS.relation: KEY}, lambda exposure: [dg.AssetKey([exposure.name])])


def why(result: dg.SensorResult) -> str | None:
    return result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason


def requested(result: dg.SensorResult) -> list[dict[str, str]]:
    return [dict(request.tags) for request in result.run_requests or ()]


def test_an_exposure_that_comes_or_changes_is_looked_for_without_a_commit(servers: Path, tmp_path: Path) -> None:
    with a_lake(servers, tmp_path / "home") as con, dg.DagsterInstance.ephemeral() as instance:
        consumed(con, POINTS)
        first = tick(con, instance, [POINTS], None)
        second = tick(con, instance, [POINTS], first.cursor)  # the first has committed whom it follows
        third = tick(con, instance, [POINTS], second.cursor)
        snapshot = json.loads(third.cursor or "")["snapshot"]
        assert why(third) == f"Nothing was committed since snapshot {snapshot}."
        assert not requested(first) + requested(second) + requested(third)

        added = tick(con, instance, [POINTS, OTHER], third.cursor)
        assert [tags[EXPOSURE] for tags in requested(added)] == ["other"]
        assert [request.asset_selection for request in added.run_requests or ()] == [[dg.AssetKey(["other"])]]
        assert added.cursor is None  # it waits, and is looked for again

        changed = replace(POINTS, spec=POINTS.spec.model_copy(update={"fresh_within_hours": 48.0}))
        looked = tick(con, instance, [changed], third.cursor)
        assert why(looked) == "points: every publication of features.points is consumed."
        followed = con.execute("select exposure, revision from lake.ops.followed order by followed_at").fetchall()
    assert followed == [(one.name, one.revision()) for one in (POINTS, OTHER, changed)]


def test_what_is_consumed_and_not_measured_gets_a_run_too(servers: Path, tmp_path: Path) -> None:
    with a_lake(servers, tmp_path / "home") as con, dg.DagsterInstance.ephemeral() as instance:
        con.execute(
            "insert into lake.ops.consumptions by name select 'points' as exposure, ? as publication_id, 'trained' as "
            "outcome, 'first' as reason, 'hash' as input_hash, 'one' as version_id, now() as consumed_at",
            [PUBLISHED],
        )
        killed = tick(con, instance, [POINTS], None)
        assert [(tags[PUBLICATION], tags[TRY]) for tags in requested(killed)] == [(PUBLISHED, "1")]
        assert killed.cursor is None  # it is pending, and looked for again
        (tags,) = requested(killed)
        instance.create_run_for_job(a_job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        under_way = tick(con, instance, [POINTS], None)
        assert "is under way for features.points@7" in (why(under_way) or "") and not requested(under_way)
        completion.give_up(POINTS, PUBLISHED, "three tries failed")
        done = tick(con, instance, [POINTS], None)
        assert why(done) == "points: every publication of features.points is consumed." and done.cursor


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def a_job() -> None:
    """Of no step that matters."""
    nothing()


def test_a_cursor_of_an_earlier_release_is_looked_at_anew(servers: Path, tmp_path: Path) -> None:
    with a_lake(servers, tmp_path / "home") as con, dg.DagsterInstance.ephemeral() as instance:
        ((snapshot,),) = con.execute("select id from lake.current_snapshot()").fetchall()
        assert [tags[EXPOSURE] for tags in requested(tick(con, instance, [POINTS], str(snapshot)))] == ["points"]


def test_only_tries_that_reached_the_rows_count(servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_RETRY_SECONDS", "0")
    errors: list[Exception] = [
        lake.unavailable("its Postgres does not answer", "Connection refused"),
        duckdb.IOException("IO Error: Could not connect to server"),
        RowsError("features.points@7: the key id is repeated in 2 rows."),
        ConnectionResetError("by peer"),
        ValueError("of an estimator"),
        LockLostError("Postgres ended the lock."),
        RowsError("features.points@7: the key id is repeated in 2 rows."),
    ]

    @dg.op
    def learn(context: dg.OpExecutionContext) -> None:
        with told():
            raise errors[int(context.run.tags[TRY]) - 1]

    @dg.job
    def learn_points() -> None:
        learn()

    cursor: str | None = None

    def checked() -> list[tuple[bool, str | None]]:
        nonlocal cursor
        result = waiting.tick(con, instance, [POINTS], {POINTS.relation: KEY}, cursor)
        cursor = result.cursor
        events = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        assert {event.check_name for event in events} <= {"points_consumes_it"}
        return [(event.passed, event.description) for event in events]

    well = "no publication of features.points waits for points after a run that failed"
    with a_lake(servers, tmp_path / "home") as con, dg.DagsterInstance.ephemeral() as instance:
        assert checked() == [(True, well)]
        for number in range(1, len(errors) + 1):
            (tags,) = requested(tick(con, instance, [POINTS], None))
            assert tags[TRY] == str(number)
            assert checked() == []  # nothing ended meanwhile
            learn_points.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
            ((passed, said),) = checked()
            reached = isinstance(errors[number - 1], RowsError | ValueError)
            assert (passed, "it; the last reached the rows" in (said or "")) == (False, reached)
            assert (said or "").startswith(f"{PUBLISHED} waits for points: {number} run{'s' * (number > 1)} ended ")
        assert not requested(tick(con, instance, [POINTS], None))
        assert checked() == [(True, well)]  # it is left for a person
        found = con.execute("select outcome, reason from lake.ops.consumptions").fetchall()
    assert found == [("failed", "3 tries failed, the last with: features.points@7: the key id is repeated in 2 rows")]


def test_a_lake_made_anew_beside_an_old_dagster_is_learned_from(servers: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        keys, ledgers = [], []
        cursors: list[str | None] = []
        for name in ("old", "new"):
            con = stack.enter_context(a_lake(servers, tmp_path / name))
            result = tick(con, instance, [POINTS], cursors[-1] if cursors else None)
            (request,) = result.run_requests or ()
            (event,) = result.asset_events
            assert isinstance(event, dg.AssetMaterialization)
            assert (event.metadata["snapshot"].value, event.metadata["lake"].value) == (7, publications.ledger(con))
            instance.report_runless_asset_event(event)
            assert request.tags["tract/try"] == "1"
            keys.append(request.run_key)
            ledgers.append(request.tags[LEDGER])
            again = tick(con, instance, [POINTS], None)
            assert (again.asset_events, requested(again)) == ([], requested(result))  # told once, in each lake
            for _ in range(TRIES):
                tags = {EXPOSURE: "points", PUBLICATION: PUBLISHED, LEDGER: ledgers[-1]}
                instance.add_run(dg.DagsterRun("learn_points", status=dg.DagsterRunStatus.FAILURE, tags=tags))
            consumed(con, POINTS)
            cursors.append(tick(con, instance, [POINTS], None).cursor)
    assert len(set(keys)) == len(set(ledgers)) == 2
