"""What waiting may mend is told from what it cannot, by the errors that servers give when they are killed."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb
import pytest

from ml import lake
from ml.errors import TractError
from ml.lake import artifacts, locks
from ml.lake.away import is_away
from orchestration import stack
from orchestration.stack import postgres, processes, s3

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("away")]


def raised(call: Callable[[], object]) -> Exception:
    with pytest.raises((duckdb.Error, TractError, OSError)) as error:
        call()
    return error.value


def ended(home: Path, name: str) -> None:
    server = processes.find(home, name)
    assert server is not None
    os.kill(server, signal.SIGKILL)


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake on servers of its own, to be killed; a table of two columns in it."""
    home = tmp_path_factory.mktemp("away") / "home"
    stack.up(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        try:
            with lake.connect() as con:
                con.execute("create schema lake.f")
                con.execute("create table lake.f.t as select range as i, random() as x from range(200000)")
                yield con
        finally:
            stack.down(home)


def test_what_was_asked_for_is_not_away(con: duckdb.DuckDBPyConnection) -> None:
    artifact = artifacts.save(con, {"a": 1}, "model")
    lost = artifacts.Artifact(artifact.uri.replace("artifacts/", "artifacts/0"), artifact.sha256)
    assert not is_away(raised(lambda: artifacts.read(con, lost)))
    with duckdb.connect(config={"memory_limit": "20MB", "temp_directory": ""}) as small:
        assert not is_away(raised(lambda: small.execute("select list(range) from range(10_000_000)")))
    for query in ("from lake.f.nothing", "select cast('a' as int)", "select nothing from lake.f.t", "selec"):
        assert not is_away(raised(partial(con.execute, query)))
    assert not is_away(ValueError("a"))


def test_servers_that_end_are_away_until_they_are_back(con: duckdb.DuckDBPyConnection) -> None:
    home = lake.home()
    artifact = artifacts.save(con, {"a": 1}, "model")
    ended(home, s3.NAME)
    calls: list[Callable[[], object]] = [
        lambda: con.execute("select sum(x) from lake.f.t"),
        lambda: con.execute("create table lake.f.u as from lake.f.t"),
        lambda: artifacts.save(con, {"a": 2}, "model"),
        lambda: artifacts.read(con, artifact),
    ]
    assert [is_away(raised(call)) for call in calls] == [True] * 4
    assert str(raised(lambda: artifacts.read(con, artifact))).startswith("The lake is not up: its S3 does not answer (")
    stack.up(home)
    con.execute("begin")
    con.execute("insert into lake.f.t select range, 1.0 from range(10)")
    ended(home, postgres.NAME)
    calls = [
        lambda: con.execute("commit"),
        lambda: con.execute("select sum(x) from lake.f.t"),
        lambda: lake.connect(),
        lambda: locks.lock("a test").__enter__(),
    ]
    assert [is_away(raised(call)) for call in calls] == [True] * 4
    stack.up(home)
    assert con.execute("select count(*) from lake.f.t").fetchall() == [(200_000,)]
    assert artifacts.load(con, artifact) == {"a": 1}
