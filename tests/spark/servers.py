"""Spark Connect servers for tests: Sail, which has no JVM. Where what starts them is not installed, tests say so."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from orchestration.stack import s3
from tests.conftest import ROOT

# An environment that somebody made elsewhere may be named: SAIL=/opt/sail/bin/sail make spark
SAIL = Path(os.environ.get("SAIL", ROOT / ".venv" / "sail" / "bin" / "sail"))


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needs_client() -> None:
    if find_spec("pyspark") is None:
        pytest.skip("the engine's client is not installed: make spark-install")


class Server:
    """A process that listens, and may be killed."""

    def __init__(self, command: list[str], port: int, log: Path, environment: dict[str, str]) -> None:
        self.address = f"sc://127.0.0.1:{port}"
        with log.open("wb") as file:
            self.process = psutil.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=ROOT
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"nothing listens at {port}: {log.read_text()}"
                time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL it and its children."""
        for process in [*self.process.children(recursive=True), self.process]:
            process.kill()
        self.process.wait()


def storage(servers: Path) -> dict[str, str]:
    """The tests' S3, as the usual variables name one."""
    store = s3.address(servers)
    return {
        "AWS_ACCESS_KEY_ID": store.key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret,
        "AWS_ENDPOINT_URL": f"http://{store.endpoint}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": store.region,
    }


@contextmanager
def sail(servers: Path, log: Path) -> Iterator[Server]:
    """Sail on loopback; its workers are its own threads, and import Tract from this checkout."""
    needs_client()
    if not SAIL.exists():
        pytest.skip(f"Sail is not installed, {SAIL} is not there: make spark-install")
    port = free_port()
    environment = {**storage(servers), "PYTHONPATH": str(ROOT)}
    environment["PYTHONWARNINGS"] = "ignore"
    server = Server([str(SAIL), "spark", "server", "--ip", "127.0.0.1", "--port", str(port)], port, log, environment)
    try:
        yield server
    finally:
        if server.process.is_running():
            server.kill()
