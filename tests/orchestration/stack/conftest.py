"""One real stack for all tests of this folder, in a directory closed to others, as mktemp and pytest make them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from orchestration import stack

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose servers run."""
    home = tmp_path_factory.mktemp("stack") / "home"
    stack.up(home)
    yield home
    stack.down(home)


@pytest.fixture
def command() -> Command:
    """Runs `tract` as a shell would."""

    def run(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        env = {name: value for name, value in os.environ.items() if not name.startswith("TRACT_")}
        return subprocess.run(
            [sys.executable, "-m", "orchestration.commands", *arguments],
            env=env | {"TRACT_HOME": str(home)} | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def lake(home: Path, secrets: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A reader's way in, and nothing of ours: three loads and one attach."""
    connection = duckdb.connect(
        config={"secret_directory": str(secrets or home / "secrets"), "extension_directory": str(home / "extensions")}
    )
    for name in ("httpfs", "ducklake", "postgres_scanner"):
        connection.execute(f"load {name}")
    connection.execute("attach 'ducklake:tract' as lake (data_inlining_row_limit 0)")
    return connection


def pid(home: Path, name: str) -> int:
    """The pid that `up` remembered."""
    return int(json.loads((home / "run" / f"{name}.pid.json").read_text())["pid"])


def kill(pid: int) -> None:
    """SIGKILL, and wait until it has taken effect."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def servers(home: Path) -> list[int]:
    """The pids of all processes that work on this home's data, found by their arguments and directories alone."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = f"-dir={home / 's3'}" in process.cmdline() or process.cwd() == str(home / "postgres")
            child = (parent := process.parent()) is not None and parent.name() == process.name()
        except psutil.Error:
            continue
        if ours and not child and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found
