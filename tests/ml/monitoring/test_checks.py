"""What is checked after each consumption, before there is one and after."""

import duckdb

from ml import consumption
from ml.exposures import Exposure
from ml.monitoring import checks
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def found(exposure: Exposure) -> dict[str, tuple[bool, str]]:
    return {result.check.name: (result.passed, result.found) for result in checks.run(exposure)}


def test_without_a_champion_every_check_fails_and_says_so(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    nobody = (False, "there is no champion: no version passed the gate yet")
    assert found(exposure) == {
        "better_than_mean": nobody,
        "artifact_unchanged": nobody,
        "every_row_predicted": (False, "no publication was consumed yet"),
    }


def test_a_missing_prediction_is_found_and_nothing_else_is(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    assert consumption.consume(exposure, say=silent) is not None
    assert [passed for passed, _ in found(exposure).values()] == [True, True, True]
    con.execute("delete from lake.ml.predictions where id = 'k7'")
    after = found(exposure)
    assert after["every_row_predicted"] == (False, f"{publication}: 400 rows, 399 predictions of 399 keys")
    assert after["better_than_mean"][0]
    assert after["artifact_unchanged"][0]
