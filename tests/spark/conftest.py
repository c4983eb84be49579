"""One Sail for all tests that read or build by an engine; each test has a lake of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.spark import session
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
