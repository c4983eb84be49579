"""Runs are forked from a process that has imported the libraries: their imports are most of what a run's start takes.

Dagster's code server starts each run as a new Python ("spawn"). Only libraries are imported ahead: a run reads Tract's
own modules, the dbt project and a project's estimators as they are when it starts, as before.
"""

import multiprocessing
import sys
from importlib.metadata import version
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

from ml.identity import LIBRARIES

# What `orchestration.definitions`, learning, judging and pictures import; none starts a thread by its import.
AHEAD = (
    "dagster",
    "dagster._grpc.impl",
    "dagster_dbt",
    "dagster_postgres",
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
        return multiprocessing.get_context("forkserver" if _installed() == began_with else "spawn")

    # Dagster has no setting for it (1.13); the server sets it once, to spawn, before it loads the definitions.
    server.DagsterApiServer._mp_ctx = property(context, lambda server, given: None)


def _installed() -> list[str]:
    return [version(library) for library in LIBRARIES]
