"""Two hundred SIGKILLs at random moments, seeded: of the consumer, the producer, S3, Postgres and its backends.

After each the lake shows what was committed last, and no half; the next run finishes what was cut off, without help.
The storm (`make storm`) and test_kills.py kill dbt and Dagster. `KILLS=0.1` does a
tenth of them, `KILLS_SECONDS=600` what fits.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from ml import lake
from ml.lake import artifacts, locks
from ml.maintenance import maintain
from ml.records import migrations, tables, versions
from orchestration import stack
from orchestration.stack import postgres, processes, s3
from tests.faults import worker
from tests.ml.conftest import POINTS
from tests.ml.rows import silent

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("random kills"), pytest.mark.timeout(3600)]

SEED = 1990
SHARE = float(os.environ.get("KILLS", "1"))
SECONDS = float(os.environ.get("KILLS_SECONDS", "3000"))
PLAN = {
    "the consumer, at any moment": 60,
    "the consumer, between the artifact's upload and the commit": 30,
    "the consumer, about the commit": 20,
    "the producer, at any moment": 20,
    "S3, while a publication is consumed": 25,
    "Postgres, while a publication is consumed": 15,
    "one backend of Postgres": 15,
    "the backend that holds the lock": 15,
    "consumer, S3 and Postgres at once": 10,
}
PATIENCE = 120.0
FORKS = multiprocessing.get_context("forkserver")


class Lake:
    """A lake on servers of its own, what is done to it, and what came of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.random = random.Random(SEED)
        self.numbers = count(1)
        self.kills: Counter[str] = Counter()
        self.found: dict[str, Counter[str]] = defaultdict(Counter)
        self.waits = True
        self.seconds = {"consume": 3.0, "publish": 1.0}

    def start(self, what: str, *more: object) -> tuple[BaseProcess, Connection]:
        told, telling = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=getattr(worker, what), args=(str(self.home), telling, *more))
        process.start()
        telling.close()
        return process, told

    def run(self, what: str, *more: object) -> None:
        """Do it without a kill."""
        began = time.monotonic()
        process, _ = self.start(what, *more)
        process.join(PATIENCE)
        assert process.exitcode == 0, what
        self.seconds[what] = time.monotonic() - began

    def seed(self) -> float:
        return next(self.numbers) / 10_000

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with lake.connect() as con:
            return con.execute(query).fetchall()


UNCONSUMED = "select publication_id from lake.ops.publications anti join lake.ops.consumptions using (publication_id)"
UNCOMPLETED = """
    select publication_id from lake.ops.consumptions
    anti join lake.ops.completions using (publication_id)
    where outcome <> 'superseded'
"""
# A row for each publication that is not what it must be: consumed once and all of it, or not at all and nothing of it.
HALVES = """
    with counted as (
        select
            publication_id,
            (select count(*) from lake.ops.consumptions as c where c.publication_id = p.publication_id) as consumptions,
            (select count(*) from lake.ops.completions as d where d.publication_id = p.publication_id) as completions,
            (select any_value(outcome) from lake.ops.consumptions as c where c.publication_id = p.publication_id)
            as outcome,
            (select count(*) from lake.ml.predictions as m where m.publication_id = p.publication_id) as predictions,
            (select count(*) from lake.ml.model_versions as v where v.publication_id = p.publication_id) as versions,
            (
                select count(*) from lake.ml.heldout_predictions as h
                inner join lake.ml.model_versions as v using (version_id) where v.publication_id = p.publication_id
            ) as heldout,
            p.row_count
        from lake.ops.publications as p
    )
    from counted where not case
        when consumptions = 0 or outcome = 'superseded' then predictions + versions + heldout + completions = 0
        -- judged by one split before the commit, and by the other when it is completed
        else predictions = row_count and versions = 1 and consumptions = 1
            and completions <= 1 and heldout = (1 + completions) * row_count
    end
"""
ORPHANS = """
    select version_id from lake.ml.heldout_predictions anti join lake.ml.model_versions using (version_id)
    union all select version_id from lake.ml.model_metrics anti join lake.ml.model_versions using (version_id)
    union all select version_id from lake.ml.promotions anti join lake.ml.model_versions using (version_id)
    union all select publication_id from lake.ml.predictions anti join lake.ops.publications using (publication_id)
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    home = tmp_path_factory.mktemp("kills") / "home"
    FORKS.set_forkserver_preload(["tests.faults.worker"])
    stack.up(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        try:
            with lake.connect() as con:
                for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [POINTS])]:
                    con.execute(statement)
                con.execute("create schema lake.features")
            yield Lake(home)
        finally:
            stack.down(home)


def test_random_kills(kept: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    kept.run("publish", kept.seed())
    kept.run("consume")
    plan = [what for what, number in PLAN.items() for _ in range(max(1, round(number * SHARE)))]
    kept.random.shuffle(plan)
    for number, what in enumerate(plan):
        if time.monotonic() - began > SECONDS:
            break
        one_kill(kept, what)
        after_a_kill(kept, what)
        if number % 20 == 19:
            maintain(say=silent)  # as each night
    while kept.waits:  # the next run, without help
        kept.run("consume")
        after_a_kill(kept, "all of them")
    kept.run("consume")  # of the last, what was cut off after its commit
    after_a_kill(kept, "all of them")
    assert kept.rows(UNCONSUMED) == []
    assert kept.rows(UNCOMPLETED) == []
    twice = "select 1 from lake.ops.consumptions group by exposure, publication_id having count(*) > 1"
    assert kept.rows(twice) == []
    removed = what_nothing_refers_to_is_removed()
    with capsys.disabled():
        print(table(kept, removed, time.monotonic() - began))  # noqa: T201


def one_kill(kept: Lake, what: str) -> None:
    if "producer" in what:
        process, told = kept.start("publish", kept.seed())
        time.sleep(kept.random.uniform(0, 1.2 * kept.seconds["publish"]))
        kill(process.pid)
    else:
        if not kept.waits:
            kept.run("publish", kept.seed())
        process, told = kept.start("consume")
        moment(kept, what, process, told)
        for victim in victims(kept, what, process):
            kill(victim)
    if "S3" in what or "Postgres" in what:
        stack.up(kept.home)  # while what needs them may still be at work
    process.join(PATIENCE)
    assert process.exitcode is not None, f"{what}: the process hangs"
    kept.kills[what] += 1
    kept.found[what]["had ended well" if process.exitcode == 0 else "cut off"] += 1
    until_postgres_answers(kept.home)


def moment(kept: Lake, what: str, process: BaseProcess, told: Connection) -> None:
    """Wait for a random moment of what is to be killed."""
    if "between" in what:
        heard(told, "saved version")
        time.sleep(kept.random.uniform(0, 0.3))
        return
    if "about the commit" in what:
        heard(told, ": ")
        heard(told, "saved version")
        heard(told, ": ")  # what was decided; the transaction follows
        time.sleep(kept.random.uniform(0, 1.0))
        return
    if "lock" in what:
        heard(told, "rows")  # it has the lock before it says how many rows there are
        time.sleep(kept.random.uniform(0, 0.5 * kept.seconds["consume"]))
        return
    time.sleep(kept.random.uniform(0, 1.1 * kept.seconds["consume"]))


def heard(told: Connection, word: str) -> None:
    with suppress(EOFError, OSError):
        while word not in str(told.recv()):
            pass


def victims(kept: Lake, what: str, process: BaseProcess) -> list[int | None]:
    home = kept.home
    if "backend" in what:
        with closing(postgres._enter(home, "lake")) as con, con.cursor() as cursor:
            if "lock" in what:
                cursor.execute("select pid from pg_locks where locktype = 'advisory' and granted")
            else:
                cursor.execute("select pid from pg_stat_activity where usename = 'tract' order by random() limit 1")
            return [pid for (pid,) in cursor.fetchall()]
    names = {"S3": s3.NAME, "Postgres": postgres.NAME}
    servers = [processes.find(home, name) for word, name in names.items() if word in what]
    return [*servers, *([process.pid] if "consumer" in what else [])]


def kill(pid: int | None) -> None:
    assert pid is not None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until_postgres_answers(home: Path) -> None:
    """A server one of whose backends was killed ends all of them, and comes back by itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            postgres._enter(home, "lake").close()
            return
        except Exception:  # noqa: BLE001 (as it recovers, it says so in many ways)
            assert time.monotonic() < deadline
            time.sleep(0.1)


def after_a_kill(kept: Lake, what: str) -> None:
    """A committed state: nothing half, nothing of nobody, and the lock is free."""
    with lake.connect() as con:
        assert con.execute(HALVES).fetchall() == [], what
        assert con.execute(ORPHANS).fetchall() == [], what
        kept.waits = con.execute(UNCONSUMED).fetchall() != []
    with closing(locks.connect("a test")) as con:
        locks.acquire(con, locks.consuming(POINTS.name), 30, silent)


def what_nothing_refers_to_is_removed() -> int:
    """What was cut off left files; maintenance finds them, and leaves what is named."""
    done = [maintain(grace=timedelta(0), say=silent) for _ in range(4)]  # what one has merged, the next removes
    assert (done[-1].removed_files, done[-1].removed_artifacts) == (0, 0)
    first = done[0]
    with lake.connect() as con:
        for version_id in versions.version_ids(con, POINTS.name):
            version = versions.version(con, POINTS.name, version_id)
            assert version is not None
            assert versions.load(con, POINTS.name, version).n_features_in_ == 2
            assert artifacts.read(con, version.scaler)
        for (snapshot,) in con.execute("select max(snapshot_id) from lake.ops.publications").fetchall():
            read = con.execute(f"select count(*) from lake.features.points at (version => {snapshot})")
            assert read.fetchall() == [(worker.ROWS,)]
    return first.removed_files + first.removed_artifacts


def table(kept: Lake, removed: int, seconds: float) -> str:
    """The table for docs/faults.md."""
    counted = kept.rows("select outcome, count(*) from lake.ops.consumptions group by all")
    outcomes = {str(outcome): number for outcome, number in counted}
    lines = [
        "| killed | how often | it was cut off | it had just ended | lost, twice or half |",
        "|---|--:|--:|--:|--:|",
    ]
    for what in PLAN:
        found = kept.found[what]
        lines.append(f"| {what} | {kept.kills[what]} | {found['cut off']} | {found['had ended well']} | 0 |")
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    lines.append(f"\nSeed {SEED}; {kept.kills.total()} kills in {seconds:,.0f} s; publications: {said};")
    lines.append(f"{removed} files of what was cut off were removed by maintenance, and none that is named.")
    return "\n" + "\n".join(lines)
