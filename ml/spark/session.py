"""The engine's address, a session there, and its failures as sentences."""

import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from ml.errors import TractError
from ml.lake import first_line

REMOTE = "TRACT_SPARK"
SCHEME = "TRACT_SPARK_SCHEME"
TESTS_ABOVE = "TRACT_SPARK_TESTS_ABOVE_ROWS"
# Of calls that fail, 50 ms to 4 s apart: half a minute. pyspark's own patience is ten minutes.
RETRIES = 8
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # INT96 is no timestamptz to the lake
    # the lake's files pack doubles as BYTE_STREAM_SPLIT, which Spark 4.1's reader of whole columns refuses to read
    "spark.sql.parquet.enableVectorizedReader": "false",
}
_ADDRESS = re.compile(r"sc://([^:/;]+)(?::(\d+))?(/.*)?")


class EngineError(TractError):
    """The engine is not there, died, or did not do as asked; the message names its address and what to do."""


class RefusedError(EngineError):
    """What the engine is not asked to do, as it would mean something else there, or cannot be read; nothing was run."""


def address() -> str:
    """The server, as `TRACT_SPARK` says.

    Raises:
        EngineError: It is not set, or is no address of a Spark Connect server.
    """
    said = os.environ.get(REMOTE, "")
    if not said:
        raise EngineError(
            f"{REMOTE} is not set, and something is to run on Spark. Set it to the address of a Spark Connect server, "
            "such as sc://127.0.0.1:15002, or leave `engine: spark` out."
        )
    if not _ADDRESS.fullmatch(said):
        raise EngineError(
            f"{REMOTE} is '{shown(said)}'. It must be such as sc://host:15002, a Spark Connect server's address."
        )
    return said


def shown(said: str) -> str:
    """An address as people may see it: without its parameters, of which one may be a token."""
    return said.partition(";")[0]


def scheme() -> str:
    """How the engine names S3: Spark says s3a, Sail and EMR s3.

    Raises:
        EngineError: It is something else.
    """
    said = os.environ.get(SCHEME, "s3a")
    if said not in ("s3", "s3a"):
        raise EngineError(f"{SCHEME} is '{said}'. It must be s3a (Spark) or s3 (Sail, EMR).")
    return said


def tests_above_rows() -> int:
    """Tables with more rows, if the engine built them, are tested and counted there; DuckDB scans fewer in a second.

    Raises:
        EngineError: It is no whole number.
    """
    said = os.environ.get(TESTS_ABOVE, "10000000")
    if not said.isdecimal():
        raise EngineError(f"{TESTS_ABOVE} is '{said}'. It must be a whole number of rows, such as 10000000.")
    return int(said)


def there(path: str) -> str:
    """The lake's address of a file as the engine names it."""
    return re.sub("^s3://", f"{scheme()}://", path)


@contextmanager
def session() -> Iterator[Any]:
    """A session of its own, a `pyspark.sql.SparkSession`, which ends with the block; what fails inside is a sentence.

    Raises:
        EngineError: pyspark is not installed, nothing listens, or what was asked failed.
    """
    remote = address()
    _listens(remote)
    main = sys.modules["__main__"]
    if not hasattr(main, "__file__"):  # of `python -c`: pyspark takes that for its own doctests, and ends the process
        main.__file__ = "-c"
    with warnings.catch_warnings():  # of pandas' versions, which concern no frame of ours
        warnings.simplefilter("ignore")
        try:
            # by name: whoever follows the imports of a module, as `ml.identity` does, is not to meet pyspark
            errors, sql = import_module("pyspark.errors"), import_module("pyspark.sql")
            retries = import_module("pyspark.sql.connect.client.retries")
        except ImportError as error:
            raise EngineError(
                f"{REMOTE} names an engine, and its client is not installed ({first_line(error)}). Run `make "
                "spark-install`, or pip install 'tract[spark]'."
            ) from None
    with told(remote, (errors.PySparkException,)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spark = sql.SparkSession.builder.remote(remote).create()
        try:
            spark.client.set_retry_policies([retries.DefaultPolicy(max_retries=RETRIES, max_backoff=4000)])
            for name, value in SETTINGS.items():
                spark.conf.set(name, value)
            yield spark
        finally:
            with suppress(Exception):  # a server that is gone has forgotten it already
                spark.client.set_retry_policies([])
                spark.stop()


@contextmanager
def told(remote: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Say what the engine said, and where."""
    try:
        yield
    except errors as error:
        if gone(error):
            what, do = "is gone, or went while it worked", "Start it again, and try once more"
        else:
            what, do = "did not do what was asked", "Its own log says more"
        raise EngineError(
            f"The engine at {shown(remote)} {what}: {why(error)}. Nothing was written to the lake. {do}; without it, "
            "leave `engine: spark` out and DuckDB does the work."
        ) from error


def gone(error: Exception) -> bool:
    """Whether the server, or its memory of the session, is no more."""
    said = str(error)
    return any(
        word in said
        for word in (
            "UNAVAILABLE",
            "SESSION_NOT_FOUND",
            "SESSION_CLOSED",
            "Connection refused",
            "RETRIES_EXCEEDED",
            "session not found",
        )
    )


def why(error: Exception) -> str:
    """What went wrong, of an error that may hold a traceback of Python's and one of Java's."""
    if rpc := re.search(r'details = "(.*)"', str(error)):
        return first_line(rpc[1])[:500]
    raised = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception): .*$", str(error), re.MULTILINE)
    details = getattr(error, "details", None)
    said = raised[-1] if raised else details() if callable(details) else str(error)
    return first_line(said)[:500]


def _listens(remote: str) -> None:
    found = _ADDRESS.fullmatch(remote)
    assert found is not None
    try:
        socket.create_connection((found[1], int(found[2] or 15002)), timeout=5).close()
    except OSError as error:
        raise EngineError(
            f"The engine at {shown(remote)} ({REMOTE}) is not there: {first_line(error)}. Start its Spark "
            "Connect server, or leave `engine: spark` out and DuckDB does the work."
        ) from None
