"""What is waited for, and for how long: processes that work, that rest, that end, and whose port it is."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.stack import layout, processes

PATIENCE = 1.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    layout.prepare(tmp_path)
    yield tmp_path
    processes.stop(tmp_path, "one")


def start(place: Path, script: str) -> None:
    processes.start(place, "one", [sys.executable, "-c", script])


def ready(place: Path) -> bool:
    return (place / "ready").exists()


@pytest.mark.parametrize(
    "work",
    [
        "sum(range(300_000))",
        "print('at work', flush=True); time.sleep(0.2)",
        "subprocess.run([sys.executable, '-c', 'sum(range(40_000_000))'])",  # not itself, but one below it
    ],
    ids=["its processor time", "its log", "that of one below it"],
)
def test_one_that_works_is_waited_for_far_beyond_the_patience(place: Path, work: str) -> None:
    start(
        place,
        "import pathlib, subprocess, sys, time\n"
        f"end = time.monotonic() + {3 * PATIENCE}\n"
        f"while time.monotonic() < end:\n    {work}\n"
        f"pathlib.Path({str(place / 'ready')!r}).touch()\ntime.sleep(60)",
    )
    begun = time.monotonic()
    assert processes.wait(place, "one", lambda: ready(place), patience=PATIENCE)
    assert time.monotonic() - begun > 2 * PATIENCE


def test_one_that_rests_is_given_up_with_the_last_lines_of_its_log(place: Path) -> None:
    start(place, "import time; print('waits for nobody', flush=True); time.sleep(60)")
    with pytest.raises(layout.StackError) as error:
        processes.wait(place, "one", lambda: ready(place), patience=PATIENCE)
    first, last = str(error.value).splitlines()
    assert first == f"one did nothing for 1 s; its log is {processes.log(place, 'one')}."
    assert last == "  waits for nobody"


def test_one_that_works_for_ever_is_given_up_in_the_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LONGEST", 2)
    start(place, "import time\nwhile True: print('again', flush=True); time.sleep(0.1)")
    with pytest.raises(layout.StackError, match=r"^one was at work for 2 s and is not ready; its log is"):
        processes.wait(place, "one", lambda: ready(place), patience=PATIENCE)


def test_one_that_ends_is_not_waited_for(place: Path) -> None:
    start(place, "")
    assert not processes.wait(place, "one", lambda: ready(place), patience=60)


def test_a_port_is_ours_when_one_of_our_processes_listens_there_and_no_stranger(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as strangers:
        port = strangers.getsockname()[1]
        start(
            place,
            # by a process below ours, as Dagster's webserver is
            "import subprocess, sys; subprocess.run([sys.executable, '-c', '''\n"
            "import socket, time\n"
            'server = socket.create_server(("127.0.0.1", 0))\n'
            "print(server.getsockname()[1], flush=True)\n"
            "time.sleep(60)\n''' ])",
        )
        log = processes.log(place, "one")
        assert processes.wait(place, "one", lambda: log.exists() and log.read_text().endswith("\n"), patience=60)
        assert processes.listens(place, "one", int(log.read_text()))
        assert not processes.listens(place, "one", port)


def test_one_of_whose_processes_has_died_is_known_before_it_notices(place: Path) -> None:
    start(
        place,
        "import subprocess, time; one = subprocess.Popen(['sleep', '60']); print(one.pid, flush=True); time.sleep(60)",
    )
    log = processes.log(place, "one")
    assert processes.wait(place, "one", lambda: log.exists() and log.read_text().endswith("\n"), patience=60)
    assert not processes.maimed(place, "one")
    _, below = processes.family(place, "one")
    below.kill()
    assert processes.wait(place, "one", lambda: processes.maimed(place, "one"), patience=60)
