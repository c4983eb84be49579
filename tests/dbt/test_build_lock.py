"""Builds queue for one lock."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dbt_project.tract import plugin
from ml import lake
from ml.lake import locks
from tests.conftest import run_dbt
from tests.dbt.conftest import Worked, said

pytestmark = pytest.mark.xdist_group("dbt worked")

WAITING = re.compile(r"Tract adapter: Waiting for the lock 'build': someone has had it since \d\d:\d\d:\d\d\.")


@pytest.fixture
def someone(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> Worked:
    """Who holds the lock in these tests."""
    monkeypatch.setenv("TRACT_HOME", str(worked.home))
    monkeypatch.setenv("TRACT_BUILT_BY", "someone")
    return worked


def waiting() -> int:
    """How many wait for a lock in the lake's own database."""
    con = locks.connect("counts")
    try:
        (row,) = locks._ask(
            con,
            """
            select count(*) from pg_locks
            where locktype = 'advisory' and not granted
              and database = (select oid from pg_database where datname = current_database())
            """,
        )
    finally:
        con.close()
    return int(row[0])


def test_two_builds_at_once_wait_for_someone_and_then_for_each_other_and_both_succeed(
    someone: Worked, parsed: Path, tmp_path: Path
) -> None:
    def build(number: int) -> tuple[int, list[str]]:
        target = tmp_path / str(number)
        target.mkdir()
        (target / parsed.name).write_bytes(parsed.read_bytes())
        told = run_dbt(someone.home, "build", "--select", "stg_housing+1", DBT_TARGET_PATH=str(target))
        return told.returncode, said(told)

    with ThreadPoolExecutor(2) as pool:
        with locks.lock("build"):
            builds = [pool.submit(build, number) for number in range(2)]
            while waiting() < 2 and not any(build.done() for build in builds):
                time.sleep(0.1)
        ended = [build.result() for build in builds]
    for returncode, lines in ended:
        assert returncode == 0, lines
        assert len([line for line in lines if WAITING.fullmatch(line)]) == 1, lines


@pytest.mark.parametrize("made_meanwhile", [True, False])
def test_a_build_that_has_waited_knows_what_was_built_meanwhile(
    someone: Worked, parsed: Path, tmp_path: Path, made_meanwhile: bool
) -> None:
    """dbt lists what is there before it takes the lock."""
    (tmp_path / parsed.name).write_bytes(parsed.read_bytes())
    drop = "drop view lake.staging.stg_housing"
    with lake.connect() as con:
        ((made,),) = con.execute(
            "select sql from duckdb_views() where schema_name = 'staging' and view_name = 'stg_housing'"
        ).fetchall()
        if made_meanwhile:
            con.execute(drop)
        with ThreadPoolExecutor(1) as pool:
            with locks.lock("build"):
                build = pool.submit(
                    run_dbt,
                    someone.home,
                    *("run", "--select", "stg_housing"),
                    DBT_TARGET_PATH=str(tmp_path),
                )
                while not waiting() and not build.done():
                    time.sleep(0.1)
                con.execute(f"create or replace {made.removeprefix('CREATE ')}" if made_meanwhile else drop)
            told = build.result()
        assert told.returncode == 0, told.stdout
        ((rows,),) = con.execute("select count(*) from lake.staging.stg_housing").fetchall()
    assert rows > 0


def test_a_timeout_ends_the_wait_with_one_sentence(someone: Worked) -> None:
    with locks.lock("build"):
        told = run_dbt(someone.home, "build", TRACT_LOCK_TIMEOUT="0.5")
    lines = said(told)
    assert told.returncode == 2
    assert len([line for line in lines if WAITING.fullmatch(line)]) == 1
    assert re.fullmatch(
        r"The lock 'build' was not free within 0\.5 s: someone has had it since \d\d:\d\d:\d\d\. "
        r"Wait for that process, or allow more seconds with TRACT_LOCK_TIMEOUT\.",
        lines[-1],
    )
    assert "Traceback" not in told.stdout + told.stderr


def test_a_timeout_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_LOCK_TIMEOUT", "soon")
    with pytest.raises(plugin.TractError) as error:
        plugin._lock_timeout()
    assert str(error.value) == "TRACT_LOCK_TIMEOUT is 'soon'. It must be a number of seconds; 0 waits for ever."
