"""Runs are forked from a process that has imported the libraries: their imports are most of what a run's start takes.

Dagster's code server starts each run as a new Python ("spawn"). Only libraries are imported ahead: a run reads Tract's
own modules, the dbt project and a project's estimators as they are when it starts, as before. The processes that fit
for a run are forked likewise, from one that the run leaves behind before it starts a thread or opens anything.
"""

import multiprocessing
import os
import socket
import sys
from importlib.metadata import version
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from ml.identity import LIBRARIES

# What `orchestration.definitions`, learning, judging and pictures import; none starts a thread by its import.
AHEAD = (
    "dagster",
    "dagster._grpc.impl",
    "dagster_dbt",
    "dagster_postgres",
    "dbt.graph.cli",
    "dbt.graph.selector_spec",
    "duckdb",
    "matplotlib.figure",
    "pandas",
    "psycopg2",
    "pyarrow.fs",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sqlglot.lineage",
)


def prepare() -> None:
    """In a process that is Dagster's code server: start the process that runs are forked from, and have it used.

    An upgrade of a library while Dagster is up ends that: a version's name says the libraries as they are installed, so
    a run must not have others.
    """
    server = sys.modules.get("dagster._grpc.server")
    if server is None or "grpc" not in sys.argv or multiprocessing.parent_process():  # a run has its parent's argv
        return
    multiprocessing.set_forkserver_preload(list(AHEAD))
    forkserver.ensure_running()
    began_with = _installed()

    def context(_: object) -> BaseContext:
        return Runs() if _installed() == began_with else multiprocessing.get_context("spawn")

    # Dagster has no setting for it (1.13); the server sets it once, to spawn, before it loads the definitions.
    server.DagsterApiServer._mp_ctx = property(context, lambda server, given: None)


class Run(ForkServerProcess):
    """A run's process."""

    def run(self) -> None:
        """Leave a process behind that the run's workers are forked from, then run."""
        serve_forks()
        super().run()


class Runs(ForkServerContext):
    """Starts runs."""

    Process = Run


def serve_forks() -> None:
    """Fork the server of `multiprocessing`'s start method "forkserver" from this process, and have joblib use it.

    The server that Python would start imports everything anew, and so does each worker of joblib's own: 2.2 s of a core
    for each, in every consumption. This one has what this process has imported, and none of its threads, sockets and
    locks, if it is called before there are any. It ends with this process, whose pipe it reads.
    """
    from joblib.externals.loky.backend import context  # pandas has imported joblib ahead

    resource_tracker.ensure_running()
    address: str = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        Path(address).chmod(0o600)
        listener.listen()
        ends, alive = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive)
            try:
                forkserver.main(listener.fileno(), ends, [])
            finally:
                os._exit(0)
        os.close(ends)
    server: Any = forkserver._forkserver
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, alive, pid
    context.set_start_method("forkserver")


def _installed() -> list[str]:
    return [version(library) for library in LIBRARIES]
