"""Postgres and S3 that are killed and started again under a Dagster that runs: it goes on by itself."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dagster._core.scheduler.instigation import TickStatus

from ml import lake
from orchestration import stack
from orchestration.stack import dagster, postgres, processes, s3
from tests.faults.test_kills import ticks
from tests.faults.test_storage import of_the_role
from tests.warehouse import Warehouse, running

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults of servers")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Servers that nobody else needs."""
    home = tmp_path_factory.mktemp("own") / "home"
    stack.up(home)
    yield home
    stack.down(home)


@pytest.fixture(scope="module")
def warehouse(
    home: Path, parsed: Path, dagster_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    """A warehouse on them, with a champion."""
    with running(home, parsed, dagster_target, tmp_path_factory.mktemp("faults"), TRACT_RETRY_SECONDS="0.5") as made:
        first = made.build(seed=1)
        made.consumption(first)
        made.settled(first)
        yield made


def test_the_sensor_and_the_next_consumption_work_again_by_themselves(home: Path, warehouse: Warehouse) -> None:
    (before,) = ticks(warehouse, limit=1)
    pid = processes.find(warehouse.home, dagster.NAME)
    for name in (postgres.NAME, s3.NAME):
        server = processes.find(home, name)
        assert server is not None
        os.kill(server, signal.SIGKILL)
    time.sleep(12)  # so that two ticks and a heartbeat of the daemon fail
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        stack.up(home)
    warehouse.con.close()
    warehouse.con = lake.connect()
    publication = warehouse.publish(seed=2)
    assert warehouse.consumption(publication)["outcome"] in ("trained", "refreshed")
    assert [run.dagster_run.is_success for run in warehouse.settled(publication)] == [True]
    assert processes.find(warehouse.home, dagster.NAME) == pid  # nobody started it anew
    later = [tick for tick in ticks(warehouse) if tick.timestamp > before.timestamp]
    assert {tick.status for tick in later} & {TickStatus.SUCCESS, TickStatus.SKIPPED}


def test_twenty_connections_are_enough_for_all_of_it(home: Path, warehouse: Warehouse) -> None:
    """A build in a shell, Dagster with its webserver, daemon and code server, and a run: small clouds allow no more."""
    over = threading.Event()
    seen: list[int] = []

    def look() -> None:
        with closing(postgres._enter(home)) as con, con.cursor() as cursor:
            while not over.wait(0.05):
                cursor.execute("select count(*) from pg_stat_activity where usename = 'tract'")
                seen.append(int(cursor.fetchall()[0][0]))
                con.rollback()  # else the numbers stay those of its transaction

    watcher = threading.Thread(target=look)
    with of_the_role(home, "connection limit 20", "connection limit -1"):
        watcher.start()
        try:
            publication = warehouse.build(seed=3)
            assert warehouse.consumption(publication)["outcome"] in ("trained", "refreshed")
            assert [run.dagster_run.is_success for run in warehouse.settled(publication)] == [True]
        finally:
            over.set()
            watcher.join()
    print(f"at most {max(seen)} connections at once")  # noqa: T201
    assert len(seen) > 20
    assert max(seen) <= 20
