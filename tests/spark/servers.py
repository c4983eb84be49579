"""Spark Connect servers for tests: Sail, which has no JVM, and a standalone cluster of Spark's own.

Where what starts them is not installed, tests say so.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from orchestration.stack import s3
from tests.conftest import ROOT

# An environment that somebody made elsewhere may be named: SAIL=/opt/sail/bin/sail make spark
SAIL = Path(os.environ.get("SAIL", ROOT / ".venv" / "sail" / "bin" / "sail"))
# The environment of the cluster and its workers, with Spark and what tasks import.
SPARK = Path(os.environ.get("SPARK", ROOT / ".venv" / "spark-server"))
EXECUTOR = "CoarseGrainedExecutorBackend"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needs_client() -> None:
    if find_spec("pyspark") is None:
        pytest.skip("the engine's client is not installed: make spark-install")


class Server:
    """A process that listens, works beside its log, and may be killed."""

    def __init__(self, command: list[str], port: int, log: Path, environment: dict[str, str]) -> None:
        self.address = f"sc://127.0.0.1:{port}"
        with log.open("ab") as file:
            self.process = psutil.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}, cwd=log.parent
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(f"nothing listens at {port}: {log.read_text()}") from None
                time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """It and its children, while it lives."""
        return [self.process, *self.process.children(recursive=True)] if self.process.is_running() else []

    def kill(self) -> None:
        """SIGKILL it and its children."""
        for process in reversed(self.processes()):
            with suppress(psutil.NoSuchProcess):
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
        server.kill()


class Cluster:
    """Spark's own: a master, two workers of a core each, and the Connect server, all of them processes on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = next((SPARK / "lib").glob("python*")) / "site-packages" / "pyspark"
        self.environment = {
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(folder / "scratch"),
            "PYSPARK_PYTHON": str(SPARK / "bin" / "python"),
        }
        self.port, self.connect_port = free_port(), free_port()
        self.master = f"spark://127.0.0.1:{self.port}"
        self.servers: list[Server] = []
        try:
            self.servers.append(self._class("master.Master", "--port", str(self.port), port=self.port))
            for number in (1, 2):
                self.servers.append(self._worker(number))
            self.connect = self.start()
        except BaseException:  # what is up already is not left behind
            self.stop()
            raise

    def _class(self, name: str, *arguments: str, port: int, log: str = "master") -> Server:
        command = [str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1"]
        return Server([*command, "--webui-port", "0", *arguments], port, self.folder / log, self.environment)

    def _worker(self, number: int) -> Server:
        port, works = free_port(), str(self.folder / f"worker {number}")
        room = ("--cores", "1", "--memory", "2g", "--work-dir", works)
        return self._class(
            "worker.Worker", "--port", str(port), *room, self.master, port=port, log=f"worker {number} log"
        )

    def start(self) -> Server:
        """Start the Connect server, or start it again where it was."""
        settings = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.connect_port),
            "spark.driver.host": "127.0.0.1",
            "spark.executor.memory": "1g",
            "spark.executorEnv.PYTHONPATH": str(ROOT),
            "spark.ui.enabled": "false",
        }
        command = [str(self.home / "bin" / "spark-submit"), "--master", self.master]
        command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
        for name, value in settings.items():
            command += ["--conf", f"{name}={value}"]
        log = self.folder / "connect"
        self.connect = Server([*command, "spark-internal"], self.connect_port, log, self.environment)
        self.servers.append(self.connect)
        return self.connect

    def executors(self) -> list[psutil.Process]:
        """The processes in which tasks run."""
        found = []
        for process in (process for server in self.servers for process in server.processes()):
            with suppress(psutil.NoSuchProcess):  # a worker of Python's that has just ended
                if any(word.endswith(EXECUTOR) for word in process.cmdline()):
                    found.append(process)
        return found

    def stop(self) -> None:
        """End all of it."""
        for server in reversed(self.servers):
            server.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster whose tasks import Tract from this checkout; its lakes are on this machine's disk."""
    needs_client()
    if not SPARK.exists():
        pytest.skip(f"Spark is not installed, {SPARK} is not there: make spark-install")
    if not shutil.which("java"):
        pytest.skip("there is no Java, which Spark needs")
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.stop()
