"""S3 and Postgres that are slow, full, cut off or closed: it goes on, or one sentence says why; nothing is half."""

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import duckdb
import psycopg2
import pytest

from ml import consumption, lake, memory
from ml.errors import TractError
from ml.lake import locks, telling
from ml.lake.away import is_away
from ml.records import migrations, tables
from orchestration import stack
from orchestration.stack import postgres, s3, secrets
from tests.faults.proxy import NONE, Fault, Proxy, Request, sometimes
from tests.ml.conftest import POINTS, publish_points
from tests.ml.rows import silent

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("storage")]

SEED = 17
WRITING = ("PUT", "POST")


@dataclass
class Storage:
    """A lake of its own, entered by the front, past the proxy, or by the proxy."""

    front: Path
    behind: Path
    proxy: Proxy
    numbers: Iterator[int]

    @contextmanager
    def acting(self, home: Path) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRACT_HOME", str(home))
            yield

    def publish(self) -> str:
        with self.acting(self.front), lake.connect() as con:
            return publish_points(con, POINTS, next(self.numbers) / 1000)

    def consume(self, home: Path) -> str:
        with self.acting(home):
            consumed = consumption.consume(POINTS, say=silent)
        assert consumed is not None
        return consumed.outcome

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.acting(self.front), lake.connect() as con:
            return con.execute(query).fetchall()

    def snapshot(self) -> object:
        return self.rows("select id from lake.current_snapshot()")

    def whole(self, publication: str) -> None:
        """One consumption, and all of it."""
        halves = self.rows(
            f"""
            select
                (select count(*) from lake.ops.consumptions where publication_id = '{publication}'),
                (select count(*) from lake.ml.predictions where publication_id = '{publication}' and prediction > -1e9),
                (select count(*) from lake.ml.model_versions where publication_id = '{publication}')
            """
        )
        assert halves == [(1, 400, 1)]


def prepare(made: Storage) -> None:
    """Make the tables, and a champion."""
    with made.acting(made.front), lake.connect() as con:
        for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [POINTS])]:
            con.execute(statement)
        con.execute("create schema lake.features")
    made.publish()
    made.consume(made.front)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    front, behind = tmp_path_factory.mktemp("storage") / "home", tmp_path_factory.mktemp("behind") / "home"
    stack.up(front)
    try:
        store = s3.address(front)
        host, _, port = store.endpoint.partition(":")
        proxy = Proxy((host, int(port)))
        behind.mkdir()
        (behind / "extensions").symlink_to(front / "extensions")
        secrets.write(
            behind / "secrets", behind / "extensions", replace(store, endpoint=proxy.endpoint), postgres.address(front)
        )
        made = Storage(front, behind, proxy, count(1))
        prepare(made)
        (behind / "secrets" / "signing_key").write_text((front / "secrets" / "signing_key").read_text())
        yield made
    finally:
        stack.down(front)


@pytest.fixture(autouse=True)
def well(storage: Storage) -> Iterator[None]:
    yield
    storage.proxy.fault = lambda request: NONE
    storage.proxy.done.clear()


@pytest.mark.parametrize(
    "fault",
    [
        lambda request: Fault(wait=0.1),
        sometimes(0.2, SEED, Fault(answer=(500, "InternalError"))),
        sometimes(0.2, SEED, Fault(answer=(503, "SlowDown"))),
        sometimes(0.2, SEED, Fault(download=0.5), ("GET",)),
        sometimes(0.2, SEED, Fault(upload=0.5), WRITING),
    ],
    ids=["slow", "a fifth 500", "a fifth 503", "a fifth of reads cut off", "uploads reset in the middle"],
)
def test_it_goes_on_where_trying_again_helps(storage: Storage, fault: Callable[[Request], Fault]) -> None:
    publication = storage.publish()
    storage.proxy.fault = fault
    assert storage.consume(storage.behind) in ("trained", "refreshed")
    assert storage.proxy.done.total() >= 2
    storage.whole(publication)


def always(fault: Fault, *methods: str) -> Callable[[Request], Fault]:
    return lambda request: fault if not methods or request.method in methods else NONE


S3_IS_UP = r"See that S3 is up \(TRACT_S3_ENDPOINT\)\."
OTHERS = r"give others by TRACT_S3_KEY_ID, TRACT_S3_SECRET and `tract connect`\.$"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (always(Fault(answer=(500, "InternalError"))), rf"^\w+ \S* failed, .*HTTP 500.*{S3_IS_UP}$"),
        (always(Fault(download=0.5), "GET"), rf"^Reading \S* failed, .*{S3_IS_UP}$"),
        (always(Fault(upload=0.5), *WRITING), rf"^Writing \S*artifacts/\S* failed, .*{S3_IS_UP}$"),
        (always(Fault(answer=(500, "InternalError")), *WRITING), rf"^Writing \S*artifacts/\S* failed, .*{S3_IS_UP}$"),
        (always(Fault(answer=(507, "InsufficientStorage")), *WRITING), r"^\w+ \S*artifacts/\S* failed: S3 has no room"),
        (
            always(Fault(answer=(403, "ExpiredToken"))),
            rf"^\w+ \S* failed: S3 refuses it \(\w+\)\. .*{OTHERS}",
        ),
        (
            always(Fault(answer=(400, "ExpiredToken"))),
            rf"^\w+ \S* failed: S3 refuses it \(\w+\)\. .*{OTHERS}",
        ),
        (
            always(Fault(answer=(403, "AccessDenied")), *WRITING),
            rf"^\w+ \S*artifacts/\S* failed: S3 refuses it \(AccessDenied\)\. .*{OTHERS}",
        ),
    ],
    ids=["500", "reads cut off", "uploads reset", "writes 500", "full", "expired", "expired, as AWS says", "read-only"],
)
def test_where_it_does_not_help_one_sentence_says_so_and_nothing_is_half(
    storage: Storage, fault: Callable[[Request], Fault], told: str
) -> None:
    publication, before = storage.publish(), storage.snapshot()
    storage.proxy.fault = fault
    with pytest.raises((duckdb.Error, TractError)) as error:
        storage.consume(storage.behind)
    said = telling.sentence(error.value)
    assert is_away(error.value)
    assert "\n" not in said
    assert re.search(told, said), said
    assert storage.snapshot() == before
    storage.proxy.fault = lambda request: NONE
    assert storage.consume(storage.behind) in ("trained", "refreshed")
    storage.whole(publication)


def test_a_closed_port_is_the_lake_that_is_not_up(storage: Storage, tmp_path: Path) -> None:
    closed = Proxy(storage.proxy.server)
    home = tmp_path / "closed"
    home.mkdir()
    (home / "extensions").symlink_to(storage.front / "extensions")
    store = replace(s3.address(storage.front), endpoint=closed.endpoint)
    secrets.write(home / "secrets", home / "extensions", store, postgres.address(storage.front))
    closed.close()
    storage.publish()
    before = storage.snapshot()
    with pytest.raises(duckdb.Error) as error:
        storage.consume(home)
    assert is_away(error.value)
    assert S3_IS_UP.replace("\\", "") in telling.sentence(error.value)
    with (
        storage.acting(home),
        pytest.raises(lake.LakeUnavailableError, match=r"its S3 does not answer at 127\.0\.0\.1:\d+"),
    ):
        lake.check()
    assert storage.snapshot() == before
    storage.consume(storage.behind)


@contextmanager
def of_the_role(home: Path, setting: str, back: str) -> Iterator[None]:
    """Alter the lake's role in Postgres, for connections that are made from now on."""
    with closing(postgres._enter(home)) as con:
        con.autocommit = True
        con.cursor().execute(f"alter role tract {setting}")
        try:
            yield
        finally:
            con.cursor().execute(f"alter role tract {back}")


def test_a_postgres_that_is_read_only_is_read_and_says_why_it_takes_nothing(storage: Storage) -> None:
    publication, before = storage.publish(), storage.snapshot()
    with of_the_role(storage.front, "set default_transaction_read_only = on", "reset default_transaction_read_only"):
        with pytest.raises((duckdb.Error, TractError)) as error:
            storage.consume(storage.front)
        assert is_away(error.value)
        assert telling.sentence(error.value) == (
            "Nothing was committed: the catalog's Postgres takes no writes (cannot execute INSERT in a read-only "
            "transaction). TRACT_POSTGRES_HOST must name a primary, with room on its disk."
        )
        assert storage.snapshot() == before
    assert storage.consume(storage.front) in ("trained", "refreshed")
    storage.whole(publication)


def test_a_postgres_without_connections_says_so_and_is_asked_again_while_one_may_come_free(storage: Storage) -> None:
    publication = storage.publish()
    with storage.acting(storage.front), closing(locks.connect("a test")) as held:
        with closing(postgres._enter(storage.front)) as con, con.cursor() as cursor:
            cursor.execute("select count(*) from pg_stat_activity where usename = 'tract'")
            ((open_now,),) = cursor.fetchall()
        with of_the_role(storage.front, f"connection limit {open_now}", "connection limit -1"):
            with pytest.raises(lake.LakeUnavailableError) as error:
                storage.consume(storage.front)
            assert str(error.value) == (
                'The lake has no room: its Postgres does not answer (FATAL:  too many connections for role "tract"). '
                "Raise max_connections of its Postgres, or the limit of the role (TRACT_POSTGRES_USER)."
            )
            freed = threading.Timer(1.0, held.close)
            freed.start()
            locks.connect("another").close()
            freed.join()
    assert storage.consume(storage.front) in ("trained", "refreshed")
    storage.whole(publication)


def test_eight_connections_are_enough_for_a_consumption(storage: Storage) -> None:
    publication = storage.publish()
    with of_the_role(storage.front, "connection limit 8", "connection limit -1"):
        assert storage.consume(storage.front) in ("trained", "refreshed")
    storage.whole(publication)


def test_a_backend_that_ends_in_the_middle_leaves_nothing(storage: Storage) -> None:
    publication, before = storage.publish(), storage.snapshot()

    def end_all(request: Request) -> Fault:
        if request.method in WRITING:
            with closing(postgres._enter(storage.front)) as con:
                con.cursor().execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tract'")
        return NONE

    storage.proxy.fault = end_all
    with pytest.raises((duckdb.Error, TractError, psycopg2.Error)) as error:
        storage.consume(storage.behind)
    assert is_away(error.value), error.value
    assert storage.snapshot() == before
    storage.proxy.fault = lambda request: NONE
    assert storage.consume(storage.behind) in ("trained", "refreshed")
    storage.whole(publication)


@contextmanager
def disk(place: Path, size: str) -> Iterator[Path]:
    """A small disk of its own, which a test may fill."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a disk to fill")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that takes all that is left of a disk."""
    filler = place / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    return filler


@pytest.mark.parametrize(
    ("full", "told"),
    [
        ("S3", rf"^Writing \S+ failed, tried again and again: .*{S3_IS_UP}$"),
        (
            "Postgres",
            r"^Nothing was committed: the catalog's Postgres has no room \(No space left on device\)\. Free some on "
            r"its disk \(TRACT_POSTGRES_HOST\)\.$",
        ),
    ],
    ids=["S3", "Postgres"],
)
def test_a_disk_that_is_full_is_said_and_it_goes_on_when_there_is_room(tmp_path: Path, full: str, told: str) -> None:
    with disk(tmp_path / "disk", "700m") as place:
        home = place / "home"
        home.mkdir()
        if full == "Postgres":
            (tmp_path / "s3").mkdir()
            (home / "s3").symlink_to(tmp_path / "s3")
        stack.up(home)
        try:
            storage = Storage(home, home, Proxy(("127.0.0.1", 9)), count(1))
            prepare(storage)
            publication, before = storage.publish(), storage.snapshot()
            filler = fill(place)
            with pytest.raises((duckdb.Error, TractError)) as error:
                storage.consume(home)
            assert is_away(error.value)
            said = telling.sentence(error.value)
            assert re.search(told, said), said
            filler.unlink()
            assert storage.snapshot() == before
            assert storage.consume(home) in ("trained", "refreshed")
            storage.whole(publication)
        finally:
            stack.down(home)


def test_a_full_disk_where_duckdb_spills_is_said(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "60MB")
    with disk(tmp_path / "disk", "4m") as place:
        for name in ("secrets", "extensions"):
            (place / name).symlink_to(storage.front / name)
        with storage.acting(place), lake.connect() as con:
            with pytest.raises(duckdb.Error) as error, memory.enough(con, POINTS):
                con.execute(
                    "select max(a), max(b) from (select hash(i) as a, hash(i + 1) as b from range(5_000_000) as t(i) "
                    "order by a, b offset 1)"
                )
            assert is_away(error.value)
            assert re.fullmatch(
                rf"The disk is full: .*\. DuckDB spills into {place / 'tmp'} \(TRACT_HOME\)\.",
                telling.sentence(error.value),
            )
    assert os.environ["TRACT_HOME"] != str(storage.front)
