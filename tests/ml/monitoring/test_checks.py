"""What is checked after each consumption, before there is one and after."""

from dataclasses import replace

import duckdb

from ml import consumption
from ml.exposures import Exposure
from ml.monitoring import checks
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def found(exposure: Exposure) -> dict[str, tuple[bool, str]]:
    return {result.check.name: (result.passed, result.found) for result in checks.run(exposure)}


def test_without_a_champion_every_check_says_so(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    nobody = (False, "there is no champion: no version passed the gate yet")
    assert found(exposure) == {
        "better_than_mean": nobody,
        "artifact_unchanged": nobody,
        "no_likely_leak": (True, nobody[1]),
        "every_row_predicted": (False, "no publication was consumed yet"),
    }


def test_a_missing_prediction_is_found_and_nothing_else_is(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    assert consumption.consume(exposure, say=silent) is not None
    assert [passed for passed, _ in found(exposure).values()] == [True, True, True, True]
    con.execute("delete from lake.ml.predictions where id = 'k7'")
    after = found(exposure)
    assert after["every_row_predicted"] == (False, f"{publication}: 400 rows, 399 predictions of 399 keys")
    assert after["better_than_mean"][0]
    assert after["artifact_unchanged"][0]


def test_a_champion_that_learned_from_the_answer_is_warned_of(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(noise=0.0)
    from_a_alone = replace(exposure, spec=exposure.spec.model_copy(update={"target": "b", "group": None}))
    answer = replace(
        from_a_alone, columns={"id": "VARCHAR", "a": "DOUBLE", "cell": "VARCHAR", "b": "DOUBLE", "y": "DOUBLE"}
    )
    con.execute("update lake.features.points set a = 3 * b + 1")
    con.execute("insert into lake.ops.publications select 'features.points@9999', 'features.points', "
                "(select max(snapshot_id) from lake.snapshots()), 'f', '1', 400, 'i', 'me', null, now()")  # fmt: skip
    said: list[str] = []
    assert consumption.consume(answer, say=said.append) is not None
    assert any("a alone tells 100.0% of b, the target, of rows not seen" in line for line in said)
    assert found(answer)["no_likely_leak"] == (False, "a alone tells 100.0% of b")
    assert [check.severity for check in checks.CHECKS if check.name == "no_likely_leak"] == ["warn"]
