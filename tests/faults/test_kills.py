"""Whatever is killed, and however often Dagster looks: one consumption, and all of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from ml.lake import locks
from orchestration.attempts import TRY
from orchestration.stack import dagster
from orchestration.stack import graphql as webserver
from tests.warehouse import NAME, Warehouse, pid_of, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def whole(warehouse: Warehouse, publication: str) -> None:
    """One consumption, with its version, metrics and predictions, and nothing left over of a try that was cut off."""
    made = warehouse.consumption(publication)
    assert made["outcome"] in ("trained", "refreshed")
    rows = warehouse.one("select row_count from lake.ops.publications where publication_id = ?", publication)[0]
    assert warehouse.count("ml.predictions", "publication_id = ?", publication) == rows
    assert warehouse.count("ml.model_versions", "version_id = ?", made["version"]) == 1
    assert warehouse.count("ml.model_metrics", "version_id = ?", made["version"]) > 0
    judged = warehouse.count("ops.consumptions", "version_id is not null and outcome <> 'unchanged'")
    assert warehouse.count("ml.model_versions") == judged


def test_a_run_killed_in_the_middle_is_tried_again(warehouse: Warehouse) -> None:
    with warehouse.held():
        publication = warehouse.publish(seed=2)
        run = until(lambda: warehouse.waits(publication), "no run waits for the lock")
    pid = pid_of(warehouse.instance, run)
    assert pid is not None
    until(lambda: pid in warehouse.lock_pids(granted=True), "the run does not get the lock", every=0.01)
    os.kill(pid, signal.SIGKILL)  # its lock dies with it
    whole(warehouse, publication)
    runs = warehouse.settled(publication)
    assert [record.dagster_run.status for record in runs] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    assert [record.dagster_run.tags[TRY] for record in runs] == ["1", "2"]


def test_a_run_killed_after_its_commit_is_followed_by_one_that_measures_the_rest(warehouse: Warehouse) -> None:
    lock = locks.completing(NAME)
    with warehouse.held(lock):
        publication = warehouse.publish(seed=20)
        whole(warehouse, publication)
        run = until(lambda: warehouse.waits(publication, lock), "no run waits to measure")
        assert warehouse.count("ops.completions", "publication_id = ?", publication) == 0
        pid = pid_of(warehouse.instance, run)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    until(lambda: warehouse.count("ops.completions", "publication_id = ?", publication), "nobody measures the rest")
    whole(warehouse, publication)
    version = warehouse.consumption(publication)["version"]
    measured = f"select split, count(*) from lake.ml.heldout_predictions where version_id = '{version}' group by 1"
    assert sorted(warehouse.rows(measured)) == [("group", 300), ("random", 300)]
    assert warehouse.count("ml.drift", "publication_id = ?", publication) > 0
    runs = warehouse.settled(publication)
    assert [record.dagster_run.tags[TRY] for record in runs] == ["1", "2"]


def test_dagster_killed_with_its_run_goes_on_after_a_restart(warehouse: Warehouse) -> None:
    with warehouse.held():
        publication = warehouse.publish(seed=3)
        until(lambda: warehouse.waits(publication), "no run waits for the lock")
        warehouse.kill()
    warehouse.start()
    whole(warehouse, publication)
    runs = warehouse.settled(publication)
    assert [record.dagster_run.status for record in runs] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


def test_dagster_killed_in_the_middle_of_a_tick_starts_no_second_run(warehouse: Warehouse) -> None:
    publication = warehouse.publish(seed=4)
    until(lambda: warehouse.runs(publication), "no tick starts a run", every=0.01)
    assert ticks(warehouse, limit=1)[0].status == TickStatus.STARTED  # it waits for the run's process
    warehouse.kill()
    warehouse.start()
    whole(warehouse, publication)
    assert warehouse.settled(publication)[-1].dagster_run.status == dg.DagsterRunStatus.SUCCESS


def test_two_daemons_consume_once(warehouse: Warehouse) -> None:
    second = subprocess.Popen(
        [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "orchestration.definitions"],
        env=dagster.environment(warehouse.home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        publications = [warehouse.publish(seed=5), warehouse.publish(seed=6)]
        whole(warehouse, publications[-1])
        made = [warehouse.consumption(publication) for publication in publications]
        assert made[0]["outcome"] in ("trained", "refreshed", "superseded")
        for publication in publications:
            tries = [record.dagster_run.tags[TRY] for record in warehouse.settled(publication)]
            assert tries in ([], ["1"])
        assert second.poll() is None
    finally:
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()


def test_a_wiped_cursor_starts_no_second_run(warehouse: Warehouse) -> None:
    with warehouse.held():
        publication = warehouse.publish(seed=7)
        until(lambda: warehouse.waits(publication), "no run waits for the lock")
        wipe(warehouse)  # while its run is under way
    whole(warehouse, publication)
    wipe(warehouse)  # and when it is consumed
    assert len(warehouse.runs(publication)) == 1
    assert warehouse.count("ops.consumptions", "publication_id = ?", publication) == 1


def wipe(warehouse: Warehouse) -> None:
    """Reset the sensor's cursor as its page in the UI does, and let it look twice."""
    selector = {
        "sensorName": "follow_publications",
        "repositoryName": webserver.REPOSITORY,
        "repositoryLocationName": webserver.LOCATION,
    }
    warehouse.ask(
        """
        mutation ($selector: SensorSelector!) {
          setSensorCursor(sensorSelector: $selector, cursor: null) { __typename }
        }
        """,
        selector=selector,
    )
    before = looked(warehouse)
    until(lambda: looked(warehouse) >= before + 2, "the sensor does not look")  # the first may have begun before


def looked(warehouse: Warehouse) -> int:
    """How often the sensor has looked."""
    return sum(tick.status in (TickStatus.SKIPPED, TickStatus.SUCCESS) for tick in ticks(warehouse))


def ticks(warehouse: Warehouse, limit: int | None = None) -> list[InstigatorTick]:
    """The sensor's ticks, newest first."""
    (state,) = (s for s in warehouse.instance.all_instigator_state() if s.name == "follow_publications")
    return list(warehouse.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=limit))
