"""One publication that was consumed: it trained the first champion, which predicted its rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from ml import lake
from ml.consumption import Consumption
from ml.exposures import Exposure
from tests.conftest import cloned_lake
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import POINTS, Publish, publish_points
from tests.ml.rows import silent


class Consumed(NamedTuple):
    """A lake, and what came of the publication in it."""

    con: duckdb.DuckDBPyConnection
    consumption: Consumption


@pytest.fixture
def consumed(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> Consumption:
    """In a lake of the test's own."""
    publish()
    made = consume_and_complete(exposure, say=silent)
    assert made is not None and made.outcome == "trained"
    return made


@pytest.fixture(scope="session")
def kept(servers: Path, laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consumed]:
    """A lake that tests share."""
    home = cloned_lake(servers, laid_out, tmp_path_factory.mktemp("records") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        con = lake.connect()
        publish_points(con, POINTS)
        made = consume_and_complete(POINTS, say=silent)
    assert made is not None and made.outcome == "trained"
    with con:
        yield Consumed(con, made)


@pytest.fixture
def shared(kept: Consumed) -> Iterator[Consumed]:
    """The shared lake, in a transaction that is rolled back: what a test writes, it writes for itself."""
    kept.con.execute("begin")
    yield kept
    kept.con.execute("rollback")
