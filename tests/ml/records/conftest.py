"""One publication that was consumed: it trained the first champion, which predicted its rows."""

import duckdb
import pytest

from ml import consumption
from ml.consumption import Consumption
from ml.exposures import Exposure
from tests.ml.conftest import Publish
from tests.ml.rows import silent


@pytest.fixture
def consumed(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> Consumption:
    publish()
    made = consumption.consume(exposure, say=silent)
    assert made is not None and made.outcome == "trained"
    return made
