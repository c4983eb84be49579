"""Twenty publications by two builders at once, while builds, runs and Dagster are killed: nothing lost, nothing twice.

Not part of `make test`: `make storm` runs it and prints its figures.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ml.records import publications
from tests.warehouse import FEATURES, NAME, Build, Warehouse, pid_of, running, until

SEED = 1990
PUBLICATIONS = 20
KILLS = {"build": 16, "run": 9, "Dagster": 7}
ROWS = 400
# Builders take their rows from these seeds in turn, so that some builds are equal to earlier ones.
SOURCES = 16

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1800)]


@pytest.fixture
def warehouse(servers: Path, parsed: Path, dagster_target: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A lake and a Dagster of its own."""
    with running(servers, parsed, dagster_target, tmp_path, TRACT_RETRY_SECONDS="0.5") as warehouse:
        yield warehouse


class Builders:
    """Two threads that build one after another, until they are told to stop."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.sources = [warehouse.land(seed, ROWS) for seed in range(SOURCES)]
        self.numbers = count()
        self.ended = threading.Event()
        self.builds: dict[str, tuple[Path, Build]] = {}
        self.running: dict[str, Build] = {}
        self.threads = [threading.Thread(target=self.work, args=(name,)) for name in ("first", "second")]

    def work(self, name: str) -> None:
        while not self.ended.is_set():
            source = self.sources[next(self.numbers) % SOURCES]
            build = self.warehouse.start_build(source, name)
            self.builds[build.built_by] = (source, build)
            self.running[name] = build
            build.wait()

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


class Storm:
    """Kills what it meets, in an order and at moments that its seed decides."""

    def __init__(self, warehouse: Warehouse, builders: Builders) -> None:
        self.warehouse = warehouse
        self.builders = builders
        self.random = random.Random(SEED)
        self.kills: Counter[str] = Counter()

    def rage(self) -> None:
        plan = [kind for kind, number in KILLS.items() for _ in range(number)]
        self.random.shuffle(plan)
        for kind in plan:
            until({"build": self.build, "run": self.run, "Dagster": self.dagster}[kind], f"no {kind} to kill")
            self.kills[kind] += 1

    def build(self) -> bool:
        time.sleep(self.random.uniform(0, 10))
        running = [build.process for build in self.builders.running.values() if build.process.poll() is None]
        if running:
            self.random.choice(running).kill()
        return bool(running)

    def run(self) -> bool:
        """Kill a run, if one lives after a moment."""
        time.sleep(self.random.uniform(0, 3))
        for record in self.warehouse.instance.get_run_records(limit=5):
            pid = None if record.dagster_run.is_finished else pid_of(self.warehouse.instance, record)
            if pid is not None and lives(pid):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def dagster(self) -> bool:
        time.sleep(self.random.uniform(0, 10))
        self.warehouse.kill()
        self.warehouse.start()
        return True


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_storm(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    builders = Builders(warehouse)
    assert warehouse.start_build(builders.sources[0]).wait() == 0  # so that there are tables to be asked
    storm = Storm(warehouse, builders)
    for thread in builders.threads:
        thread.start()
    try:
        storm.rage()
        until(lambda: warehouse.count("ops.publications") > PUBLICATIONS, "too few publications", every=1.0)
    finally:
        builders.stop()
    until(lambda: not unconsumed(warehouse), "publications stay unconsumed", every=1.0)
    until(lambda: not unfinished(warehouse), "runs do not end", every=1.0)
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(figures(warehouse, builders, storm, seconds))  # noqa: T201

    every_publication_is_consumed_once(warehouse)
    every_consumption_is_whole(warehouse)
    nothing_is_left_of_what_was_cut_off(warehouse)
    every_publication_was_tested(warehouse, builders)


def unconsumed(warehouse: Warehouse) -> list[tuple[str]]:
    return warehouse.rows(
        """
        select publication_id from lake.ops.publications
        anti join (from lake.ops.consumptions where exposure = ?) using (publication_id)
        """,
        NAME,
    )


def unfinished(warehouse: Warehouse) -> bool:
    return any(not record.dagster_run.is_finished for record in warehouse.instance.get_run_records())


def every_publication_is_consumed_once(warehouse: Warehouse) -> None:
    published = [row[0] for row in warehouse.rows("select publication_id from lake.ops.publications")]
    consumed = [
        row[0] for row in warehouse.rows("select publication_id from lake.ops.consumptions where exposure = ?", NAME)
    ]
    assert sorted(consumed) == sorted(published)
    assert len(set(published)) == len(published) >= PUBLICATIONS


def every_consumption_is_whole(warehouse: Warehouse) -> None:
    """Consumption, version, metrics, promotion and predictions began in one snapshot, and are complete."""
    for publication, outcome, reason, version in warehouse.rows(
        """
        select publication_id, outcome, reason, version_id
        from lake.ops.consumptions where outcome in ('trained', 'refreshed')
        """
    ):
        ((snapshot,),) = warehouse.rows(
            "select snapshot_id from lake.snapshots() where author = 'ml' and commit_message = ?",
            f"{NAME} {publication} {outcome}",
        )
        expected = {
            ("ops.consumptions", "publication_id", publication): 1,
            ("ml.model_versions", "version_id", version): 1,
            ("ml.heldout_predictions", "version_id", version): ROWS,  # by the split that the gate judges by
            ("ml.promotions", "version_id", version): 0 if reason.startswith("not promoted") else 1,
            ("ml.predictions", "publication_id", publication): ROWS,
        }
        for (table, column, value), rows in expected.items():
            assert at(warehouse, table, column, value, snapshot - 1) == 0
            assert at(warehouse, table, column, value, snapshot) == rows, (table, publication)
        assert at(warehouse, "ml.model_metrics", "version_id", version, snapshot - 1) == 0
        assert at(warehouse, "ml.model_metrics", "version_id", version, snapshot) > 0
        assert warehouse.count("ml.predictions", "publication_id = ? and isfinite(prediction)", publication) == ROWS
        completed = warehouse.count("ops.completions", "exposure = ? and publication_id = ?", NAME, publication)
        assert completed <= 1
        assert warehouse.count("ml.heldout_predictions", "version_id = ?", version) == (1 + completed) * ROWS


def at(warehouse: Warehouse, table: str, column: str, value: str, snapshot: int) -> int:
    query = f"select count(*) from lake.{table} at (version => {snapshot}) where {column} = ?"
    return int(warehouse.one(query, value)[0])


def nothing_is_left_of_what_was_cut_off(warehouse: Warehouse) -> None:
    judged = "(from lake.ops.consumptions where outcome in ('trained', 'refreshed'))"
    for table in ("model_versions", "model_metrics", "heldout_predictions", "promotions", "predictions"):
        assert warehouse.rows(f"select version_id from lake.ml.{table} anti join {judged} using (version_id)") == []
    predicted = "(select predicted_publication_id as publication_id from lake.ops.consumptions)"
    assert warehouse.rows(f"from lake.ml.predictions anti join {predicted} using (publication_id)") == []
    twice = "select version_id from lake.ml.model_versions group by all having count(*) > 1"
    assert warehouse.rows(twice) == []
    twice = "select 1 from lake.ml.predictions group by publication_id, version_id, block_group_id having count(*) > 1"
    assert warehouse.rows(twice) == []


def every_publication_was_tested(warehouse: Warehouse, builders: Builders) -> None:
    """Each is its own invocation's snapshot of its own source; a build that ended well published once."""
    fingerprints: dict[Path, set[str]] = {}
    for publication, invocation, snapshot, built_by, fingerprint in warehouse.rows(
        "select publication_id, invocation_id, snapshot_id, built_by, fingerprint from lake.ops.publications"
    ):
        tag = warehouse.one(
            "select author, commit_message, commit_extra_info from lake.snapshots() where snapshot_id = ?", snapshot
        )
        assert tag == ("dbt", invocation, FEATURES)
        table = f"lake.{FEATURES} as published at (version => {snapshot})"
        assert warehouse.one(publications.fingerprint_sql(table)) == (fingerprint, ROWS)
        keys = warehouse.one(f"select count(distinct block_group_id), min(median_house_value) > 0 from {table}")
        assert keys == (ROWS, True), publication
        if built_by in builders.builds:
            fingerprints.setdefault(builders.builds[built_by][0], set()).add(fingerprint)
    assert all(len(found) == 1 for found in fingerprints.values())
    assert len({next(iter(found)) for found in fingerprints.values()}) == len(fingerprints)
    published = Counter(row[0] for row in warehouse.rows("select built_by from lake.ops.publications"))
    for built_by, (_, build) in builders.builds.items():
        if build.process.returncode == 0:
            assert published[built_by] == 1
        else:
            assert build.process.returncode == -signal.SIGKILL, build.log.read_text()
            assert published[built_by] <= 1  # one that was killed after it had published


def figures(warehouse: Warehouse, builders: Builders, storm: Storm, seconds: float) -> str:
    """The table for the docs."""
    outcomes = warehouse.rows("select outcome, count(*) from lake.ops.consumptions group by all order by outcome")
    runs = Counter(record.dagster_run.status.value.lower() for record in warehouse.instance.get_run_records())
    lines = [
        ("seed", SEED),
        ("builds started", len(builders.builds) + 1),
        *(
            (f"kills of a {kind}" if kind != "Dagster" else "kills of all of Dagster", n)
            for kind, n in storm.kills.items()
        ),
        ("publications", warehouse.count("ops.publications")),
        *((f"consumptions: {outcome}", number) for outcome, number in outcomes),
        *((f"runs: {status}", number) for status, number in sorted(runs.items())),
        ("seconds", round(seconds)),
    ]
    return "\n" + "\n".join(f"| {name} | {value} |" for name, value in lines)
