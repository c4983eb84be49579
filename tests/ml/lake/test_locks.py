"""Locks in the lake's Postgres: who waits, for whom, and that they die with their owner."""

import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml import lake
from ml.lake import locks

HELD = re.compile(r"Waiting for the lock 'build': the holder has had it since \d\d:\d\d:\d\d\.")


@pytest.fixture
def holder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_BUILT_BY", "the holder")


def test_a_second_one_waits_and_says_for_whom_and_since_when(holder: None) -> None:
    said: list[str] = []
    waits, has = threading.Event(), threading.Event()

    def say(sentence: str) -> None:
        said.append(sentence)
        waits.set()

    def second() -> None:
        with locks.lock("build", say=say):
            has.set()

    with locks.lock("build"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(60)
        assert not has.is_set()
    thread.join(60)
    assert has.is_set()
    assert len(said) == 1 and HELD.fullmatch(said[0])


def test_a_free_lock_is_taken_without_a_word(home: Path) -> None:
    said: list[str] = []
    with locks.lock("build", say=said.append), locks.lock("consume points", say=said.append):
        pass
    with locks.lock("build", say=said.append):
        pass
    assert said == []


def test_who_holds_a_lock_and_since_when_is_told_to_who_asks(holder: None) -> None:
    assert locks.holder("build") is None
    with locks.lock("build"):
        held = locks.holder("build")
        assert locks.holder("consume points") is None
    assert held is not None
    assert held[0] == "the holder"
    assert held[1] is not None
    assert 0 <= (datetime.now(UTC) - held[1]).total_seconds() < 60


def test_a_timeout_says_for_whom_it_waited_and_what_to_do(holder: None) -> None:
    with (
        locks.lock("build"),
        pytest.raises(locks.LockTimeoutError) as error,
        locks.lock("build", timeout=0.1),
    ):
        pass
    assert re.fullmatch(
        r"The lock 'build' was not free within 0\.1 s: the holder has had it since \d\d:\d\d:\d\d\. "
        r"Wait for that process, or allow more seconds with TRACT_LOCK_TIMEOUT\.",
        str(error.value),
    )


def test_a_holder_that_is_killed_frees_it(home: Path) -> None:
    script = (
        "import time\nfrom ml.lake import locks\n"
        "with locks.lock('build'):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(locks.LockTimeoutError, match=rf"pid {process.pid} has had it"),
            locks.lock("build", 0.1),
        ):
            pass
        os.kill(process.pid, signal.SIGKILL)
        with locks.lock("build", timeout=60):
            pass


def test_a_holder_that_fails_frees_it(home: Path) -> None:
    def fail() -> None:
        with locks.lock("build"):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fail()
    with locks.lock("build", timeout=0.1):
        pass


def test_a_lock_has_one_number_wherever_it_is_asked_for() -> None:
    assert locks.lock_number("build") == locks.lock_number("build")
    assert len({locks.lock_number(f"consume {i}") for i in range(1000)}) == 1000
    assert all(-(2**63) <= locks.lock_number(str(i)) < 2**63 for i in range(1000))


def test_who_we_are_is_said_or_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(rf".+@.+ pid {os.getpid()}", locks.this_process())
    monkeypatch.setenv("TRACT_BUILT_BY", "run 7 of Dagster")
    assert locks.this_process() == "run 7 of Dagster"


def test_a_long_name_is_cut_as_postgres_would(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_BUILT_BY", "x" * 100)
    cut = f": {'x' * 63} has had it"
    with (
        locks.lock("build"),
        pytest.raises(locks.LockTimeoutError, match=cut),
        locks.lock("build", timeout=0.1),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("name=tract;host=h;port=5432;user=u;password=p", {"host": "h", "port": "5432", "user": "u", "password": "p"}),
        ('dbname=it\'s; "a" \\ b;host=h', {"dbname": 'it\'s; "a" \\ b', "host": "h"}),
        ("user=u;password=a=b;c=d;;e;port=1", {"user": "u", "password": "a=b;c=d;;e", "port": "1"}),
        ("password=two\nlines;host=h", {"password": "two\nlines", "host": "h"}),
        ("password=;host=h", {"password": "", "host": "h"}),
        ("", {}),
    ],
)
def test_a_secret_is_read_whatever_its_values_are(text: str, parameters: dict[str, str]) -> None:
    assert locks.parse_secret(text) == parameters


def test_without_a_secret_the_command_that_makes_one_is_said(
    servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extensions").symlink_to(servers / "extensions")
    monkeypatch.setenv("TRACT_HOME", str(tmp_path))
    with pytest.raises(lake.LakeUnavailableError) as error:
        locks.connect("someone")
    assert str(error.value) == (
        "The lake is not up: its Postgres is not known "
        f"(no secret tract_catalog in {tmp_path / 'secrets'}). Start it with `make up`."
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become a user without a name")
def test_a_user_without_a_name_is_a_number() -> None:
    script = "import os; from ml.lake import locks; os.setuid(54321); print(locks.this_process())"
    names = ("LOGNAME", "USER", "LNAME", "USERNAME", "TRACT_BUILT_BY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("uid 54321@")
