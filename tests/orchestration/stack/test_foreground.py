"""`tract ui --foreground`, as a unit of systemd or a container runs it, on a real stack."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.stack import dagster, processes
from tests.warehouse import until

pytestmark = pytest.mark.slow


@contextmanager
def attended(home: Path, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """One that has said where the UI is."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRACT_")}
    command = [sys.executable, "-m", "orchestration.commands", "ui", "--foreground"]
    with (
        output.open("w") as written,
        subprocess.Popen(command, stdout=written, stderr=written, env=env | {"TRACT_HOME": str(home)}) as process,
    ):
        try:
            until(lambda: "http://127.0.0.1:" in output.read_text() or process.poll() is not None, "it says nothing")
            yield process
        finally:
            process.terminate()


def test_it_ends_when_told_to_and_with_what_it_attends(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with attended(home, output) as process:
        (code_server,) = (
            one
            for one in processes.family(home, dagster.NAME)
            if "dagster api grpc" in " ".join(one.cmdline()) and "multiprocessing" not in " ".join(one.cmdline())
        )
        code_server.kill()
        assert process.wait(60) == 1
    assert f"dagster has ended, or a process of it; its log is {processes.log(home, 'dagster')}." in output.read_text()
    assert processes.find(home, dagster.NAME) is None

    with attended(home, output) as process:
        until(lambda: " - dagster - INFO - " in output.read_text(), "it passes nothing on")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert processes.find(home, dagster.NAME) is None
    assert all(processes.find(home, name) for name in ("s3", "postgres"))
