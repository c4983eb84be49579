"""One Sail for all tests that read or build by an engine; each test has a lake of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ml.spark import session, tables
from tests.ml.conftest import con, exposure, laid_out, publish  # noqa: F401 (the fixtures of a small published table)
from tests.spark import servers as engines
from tests.spark.servers import Server


@pytest.fixture(scope="session")
def sail(servers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with engines.sail(servers, tmp_path_factory.mktemp("sail") / "log") as server:
        yield server


@pytest.fixture
def engine(sail: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine's address, set for this test and the processes that it starts."""
    monkeypatch.setenv(session.REMOTE, sail.address)
    monkeypatch.setenv(session.SCHEME, "s3")
    return sail.address


@pytest.fixture
def in_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sail reads small files in one task: let the rows be in four, of which some have few or none."""
    whole = tables.frame

    def frame(lake: duckdb.DuckDBPyConnection, spark: Any, relation: str, snapshot: int) -> Any:
        read = whole(lake, spark, relation, snapshot)
        return read.repartition(4, f"`{read.columns[0]}`")

    monkeypatch.setattr(tables, "frame", frame)
