"""A lake with Dagster on it and builders beside it, all of them real processes that a test may kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import dagster as dg
import duckdb
import psutil
import pytest

from ml import lake
from ml.lake import locks
from ml.records import publications
from orchestration.attempts import EXPOSURE, PUBLICATION
from orchestration.stack import dagster, layout, processes
from orchestration.stack import graphql as webserver
from tests.conftest import ROOT, new_database, new_lake

NAME = "housing_value"
FEATURES = "features.housing_features"
LOCK = f"consume {NAME}"
# What a shell has set that builds another project: Dagster is not to heed it.
OTHER_PROJECT = ("DBT_PROFILES_DIR", "DBT_PROFILE", "DBT_TARGET")
# Only ends a hang; on a busy machine a run takes a minute, and a killed start is seen after another.
PATIENCE = 400.0
# What is learned from and its tests; the tests of a mart that was never built cannot run.
BUILD = (
    "build",
    "--select",
    "+housing_features",
    "--exclude-resource-type",
    "unit_test",
    "--indirect-selection",
    "buildable",
)

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, every: float = 0.2) -> T:
    """The first answer that is not None, False or empty; fails when none comes."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < deadline, f"hangs: {what}"
        time.sleep(every)
    return answer


class Warehouse:
    """One lake, one Dagster instance."""

    def __init__(self, home: Path, landed: Path) -> None:
        self.home = home
        self.landed = landed
        layout.prepare(home)
        self.con = lake.connect()
        self.address = ""

    # what can be seen

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """A query's rows, as the lake is now."""
        with self.con.cursor() as cursor:
            return cursor.execute(query, parameters).fetchall()

    def one(self, query: str, *parameters: object) -> tuple[Any, ...]:
        """A query's only row."""
        (row,) = self.rows(query, *parameters)
        return row

    def consumption(self, publication: str) -> dict[str, Any]:
        """What came of a publication, once there is something."""
        query = """
            select outcome, reason, version_id, predicted_publication_id, run_id
            from lake.ops.consumptions
            where exposure = ? and publication_id = ?
        """
        found = until(lambda: self.rows(query, NAME, publication), f"{publication} is not consumed")
        assert len(found) == 1
        return dict(zip(("outcome", "reason", "version", "predicted", "run"), found[0], strict=True))

    def count(self, table: str, where: str = "true", *parameters: object) -> int:
        """Rows of a table of the lake."""
        return int(self.one(f"select count(*) from lake.{table} where {where}", *parameters)[0])

    def runs(self, publication: str) -> list[dg.RunRecord]:
        """The runs that the sensor started for a publication, oldest first."""
        tags = {EXPOSURE: NAME, PUBLICATION: publication}
        return list(self.instance.get_run_records(dg.RunsFilter(tags=tags), ascending=True))

    def settled(self, publication: str) -> list[dg.RunRecord]:
        """The same, once all of them have ended."""

        until(
            lambda: all(run.dagster_run.is_finished for run in self.runs(publication)),
            f"a run for {publication} does not end",
        )
        return self.runs(publication)

    # builders

    def land(self, seed: int, rows: int = 400, noise: bool = False) -> Path:
        """A file of real block groups, others for each seed; with noise their values are nobody's."""
        path = self.landed / f"{seed}-{rows}-{noise}.parquet"
        source = ROOT / "dbt_project" / "housing" / "data" / "california_housing.csv.gz"
        value = (
            f"0.15 + 4.85 * (hash(longitude, latitude, {seed}) % 1000) / 1000" if noise else "median_house_value / 1e5"
        )
        with duckdb.connect() as con:
            con.execute(
                f"""
                copy (
                    select
                        median_income as "MedInc", housing_median_age as "HouseAge",
                        total_rooms / households as "AveRooms", total_bedrooms / households as "AveBedrms",
                        population as "Population", population / households as "AveOccup",
                        latitude as "Latitude", longitude as "Longitude", {value} as "MedHouseVal"
                    from read_csv('{source}')
                    order by hash(longitude, latitude, total_rooms, {seed})
                    limit {rows}
                ) to '{path}' (format parquet)
                """
            )
        return path

    def start_build(self, source: Path, builder: str = "shell", **settings: str) -> "Build":
        """A `dbt build` of the features, as a shell starts it; each builder has a directory of its own."""
        return Build(self, source, builder, settings)

    def build(self, seed: int, *, rows: int = 400, noise: bool = False) -> str:
        """Build from a seed's rows; the publication."""
        return self.start_build(self.land(seed, rows, noise)).publication()

    def publish(self, seed: int, *, noise: bool = False, twice: bool = False) -> str:
        """Swap in other rows and publish them, in 0.3 s, by the statements that dbt runs; the publication.

        For tests that are not about the build: 300 rows of the first publication, others for each seed. Twice the same,
        they cannot be learned from.
        """
        ((pool,),) = self.rows("select min(snapshot_id) from lake.ops.publications")
        value = f"50000 + 1000.0 * (hash(block_group_id, {seed}) % 400)" if noise else "median_house_value"
        invocation = uuid4().hex
        with self.con.cursor() as con:
            con.execute("begin")
            con.execute(
                f"""
                create or replace table lake.{FEATURES} as
                select published.* from (
                    select * replace ({value} as median_house_value) from lake.{FEATURES} at (version => {pool})
                    order by hash(block_group_id || '{seed}') limit 300
                ) as published
                cross join range({2 if twice else 1})
                """
            )
            con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => '{FEATURES}')")
            con.execute("commit")
            ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, FEATURES)).fetchall()
            con.execute(publications.insert_sql(invocation, FEATURES, str(snapshot)))
        return f"{FEATURES}@{snapshot}"

    # Dagster

    def start(self) -> None:
        """Start Dagster, or start it again; from a shell that has dbt's variables set for another project."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in zip(OTHER_PROJECT, (str(self.landed), "other", "prod"), strict=True):
                patch.setenv(name, value)
            self.address = dagster.start(self.home)
        os.environ["TRACT_DAGSTER_URL"] = dagster.environment(self.home)["TRACT_DAGSTER_URL"]
        self.instance = dg.DagsterInstance.from_config(str(self.home / "dagster"))

    def kill(self) -> None:
        """SIGKILL webserver, daemon, code server, and the runs and dbt below them, all at once."""
        pid = processes.find(self.home, dagster.NAME)
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)  # it leads a group of its own
        until(lambda: not group(pid), "killed processes do not end", every=0.02)

    def stop(self) -> None:
        """Stop Dagster as `make down` does, and see that no process of it is left."""
        pid = processes.find(self.home, dagster.NAME)
        dagster.stop(self.home)
        if pid is not None:
            until(lambda: not group(pid), "stopped processes do not end", every=0.02)

    def ask(self, query: str, **variables: object) -> Any:
        """Ask Dagster's webserver."""
        return webserver.ask(self.address, query, variables)

    @contextmanager
    def held(self, lock: str = LOCK) -> Iterator[None]:
        """Hold the exposure's lock: a run that is started meanwhile waits for it, before it has read anything.

        Or the one of what is measured after a run's commit.
        """
        with locks.lock(lock):
            yield

    def waits(self, publication: str, lock: str = LOCK) -> dg.RunRecord | None:
        """The publication's newest run, if it waits for the lock."""
        runs = self.runs(publication)
        return (
            runs[-1] if runs and pid_of(self.instance, runs[-1]) in self.lock_pids(granted=False, lock=lock) else None
        )

    def lock_pids(self, *, granted: bool, lock: str = LOCK) -> list[int]:
        """The pids that hold or wait for the exposure's lock; they say so themselves, to whoever waits."""
        number = locks.lock_number(lock)
        with closing(locks.connect("a test")) as con:
            names = locks._ask(
                con,
                """
                select activity.application_name from pg_locks as locks
                join pg_stat_activity as activity on activity.pid = locks.pid
                where locks.locktype = 'advisory' and locks.granted = %s
                  and (locks.classid::bigint << 32 | locks.objid::bigint) = %s
                """,
                (granted, number),
            )
        return [int(name.rpartition("pid ")[2]) for (name,) in names if "pid " in name]


@contextmanager
def running(
    servers: Path, parsed: Path, dagster_target: Path, directory: Path, root: Path | None = None, **settings: str
) -> Iterator[Warehouse]:
    """A warehouse below an empty directory, whose Dagster runs with these settings, before the first build.

    Args:
        root: As of `new_lake`.
    """
    # a path as people have them: accents, blanks, another script
    home, landed = new_lake(servers, directory / "d'été 家", root), directory / "landed"
    landed.mkdir()
    shutil.copytree(dagster_target, home / "dbt")
    (home / "shell").mkdir()  # the builder's
    shutil.copy(parsed, home / "shell")
    settings = {"TRACT_HOME": str(home), "TRACT_DAGSTER_DATABASE": new_database(servers, "dagster"), **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_DAGSTER_URL", "")  # set by start(), and put back in the end
        for name, value in settings.items():
            patch.setenv(name, value)
        warehouse = Warehouse(home, landed)
        try:
            warehouse.start()
            yield warehouse
        finally:
            warehouse.stop()
            warehouse.con.close()


class Build:
    """One dbt process."""

    def __init__(
        self,
        warehouse: Warehouse,
        source: Path,
        builder: str,
        settings: dict[str, str],
        command: Sequence[str] = BUILD,
    ) -> None:
        self.warehouse = warehouse
        self.built_by = f"{builder} {uuid4().hex[:12]}"
        self.log = warehouse.landed / f"{self.built_by}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dbt")), "--no-use-colors", *command],
                cwd=ROOT,
                env={
                    # not what Dagster is started with at this moment, by another thread
                    **{name: value for name, value in os.environ.items() if name not in OTHER_PROJECT},
                    "TRACT_HOME": str(warehouse.home),
                    "TRACT_BUILT_BY": self.built_by,
                    "HOUSING_SOURCE": str(source),
                    "DBT_TARGET_PATH": str(warehouse.home / builder),
                    "DBT_LOG_PATH": str(warehouse.home / builder),
                    **settings,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def publication(self) -> str:
        """What it published, once it has ended well."""
        assert self.wait() == 0, self.log.read_text()
        return str(
            self.warehouse.one("select publication_id from lake.ops.publications where built_by = ?", self.built_by)[0]
        )


def group(leader: int) -> list[psutil.Process]:
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def pid_of(instance: dg.DagsterInstance, run: dg.RunRecord) -> int | None:
    """The process of a run, once it has one."""
    records = instance.get_records_for_run(run.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event and "pid" in event.engine_event_data.metadata:
            return int(str(event.engine_event_data.metadata["pid"].value))
    return None
