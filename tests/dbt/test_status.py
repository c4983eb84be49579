"""`make status` on a lake that has learned, on one that is empty, and on one that is not up."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestration.commands.status import LAST
from tests.conftest import ROOT
from tests.dbt.conftest import Home, Worked, lake_of

pytestmark = pytest.mark.xdist_group("dbt worked")

ESCAPE, COLOUR = "\x1b[", "\x1b[3"


def status(home: Path, verb: str = "status") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "orchestration.commands", verb],
        cwd=ROOT,
        env={**os.environ, "TRACT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def on_a_terminal(home: Path, **settings: str) -> tuple[int, str]:
    """The exit code, and what a person sees, of the command on a terminal of its own."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.commands", "status"],
        cwd=ROOT,
        env={**env, "TRACT_HOME": str(home), "TERM": "xterm-256color", **settings},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = bytearray()

    def look() -> None:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            seen.extend(part)

    reader = threading.Thread(target=look)
    reader.start()
    code = process.wait(timeout=120)
    reader.join()
    os.close(ours)
    return code, seen.decode()


def line(told: str, *beginnings: str) -> str:
    (found,) = [text for text in told.splitlines() if all(part in text for part in beginnings)]
    return found


def test_it_says_what_was_published_who_serves_and_how_large_it_is(worked: Worked) -> None:
    told = status(worked.home)
    assert (told.returncode, told.stderr) == (0, "")
    assert ESCAPE not in told.stdout
    with lake_of(worked.home) as con:  # other tests publish in this lake too
        newest = con.execute(
            """
            select publication_id, row_count, coalesce(outcome, 'waits')
            from lake.ops.publications as publications left join lake.ops.consumptions using (publication_id)
            order by published_at desc, publications.snapshot_id desc limit ?
            """,
            [LAST],
        ).fetchall()
    assert len(newest) > 1
    for publication, rows, outcome in newest:
        assert f"{rows:,}" in line(told.stdout, f"{publication} ", f"housing_value: {outcome}")
    places = [told.stdout.index(f"{publication} ") for publication, _, _ in newest]
    assert places == sorted(places)
    with lake_of(worked.home) as con:
        ((version, rmse, coverage),) = con.execute(
            """
            select versions.version_id, max(value) filter (metric = 'rmse'), max(value) filter (metric = 'coverage')
            from lake.ml.model_metrics join lake.ml.model_versions as versions using (version_id, candidate)
            where split = 'random' and slice = 'all'
            group by all
            """
        ).fetchall()
        (predictions,) = con.execute("select count(*) from lake.ml.predictions").fetchall()[0]
        (snapshots,) = con.execute("select count(*) from ducklake_snapshots('lake')").fetchall()[0]
    champion = line(told.stdout, "housing_value", version)
    assert champion.split()[2:7] == ["ridge", "RMSE", f"{rmse:,.0f}", "(random)", f"{coverage:.1%}"]
    assert f" {predictions:,} " in line(told.stdout, "ml.predictions")
    assert f"  {snapshots:,} snapshots, the oldest from " in told.stdout


def test_an_empty_lake_is_no_error(empty_lake: Home) -> None:
    told = status(empty_lake("nothing"))
    assert (told.returncode, told.stderr) == (0, "")
    assert "The lake has no tables yet, or not all of them: `dbt build` makes and publishes them." in told.stdout


@pytest.mark.parametrize("part", ["s3", "postgres"])
def test_a_lake_that_is_not_up_is_one_sentence_below_what_runs(part: str, unreachable: Home) -> None:
    told = status(unreachable(part))
    assert told.returncode == 1
    assert [text.split() for text in told.stdout.splitlines()[2:]] == [
        ["service", "state", "address"],
        ["s3", "stopped"],
        ["postgres", "stopped"],
        ["dagster", "stopped"],
    ]
    (sentence,) = told.stderr.splitlines()
    assert sentence.startswith("The lake is not up: ")
    assert sentence.endswith("Start it with `make up`.")
    assert ESCAPE not in told.stdout + told.stderr


def test_colours_are_for_terminals_and_no_color_turns_them_off(unreachable: Home) -> None:
    home = unreachable("s3")
    code, seen = on_a_terminal(home)
    assert (code, COLOUR in seen) == (1, True)
    code, seen = on_a_terminal(home, NO_COLOR="1")
    assert (code, COLOUR in seen) == (1, False)
    assert "The lake is not up: its S3 does not answer" in seen


@pytest.mark.parametrize("verb", ["status", "run"])
def test_a_home_that_cannot_be_is_one_sentence_and_exit_code_1(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = status(tmp_path / "file" / "home", verb)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    assert ESCAPE not in told.stdout + told.stderr
    assert len(told.stderr.splitlines()) == 1
