"""Predictions that stood are held against true values that come later: those rows, that version, once."""

import time
from collections.abc import Callable
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml import promotion
from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.learning import folds
from ml.monitoring import live_error
from ml.records import champions, publications
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent

Change = Callable[..., str]
THIRTY = "cast(substr(id, 2) as integer) between 100 and 129"


@pytest.fixture
def change(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Change:
    """Change features.points by statements and publish what they leave; the publication's id."""

    def change(*statements: str) -> str:
        for statement in statements:
            con.execute(statement)
        (snapshot,) = con.execute("select max(snapshot_id) from lake.snapshots()").fetchall()[0]
        publication = f"{exposure.relation}@{snapshot}"
        con.execute(
            f"insert into lake.ops.publications select '{publication}', 'features.points', {snapshot}, "
            f"'fingerprint {snapshot}', '1', (select count(*) from lake.features.points), 'i', 'me', null, now()"
        )
        return publication

    return change


def consume(exposure: Exposure) -> Consumption:
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    return made


def found(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str | None, str, int]]:
    return con.execute(
        "select publication_id, version_id, predicted_publication_id, row_count from lake.ml.live_errors "
        "order by publication_id, version_id"
    ).fetchall()


def by_hand(actual: pd.DataFrame, predicted: pd.DataFrame) -> tuple[float, float, float]:
    """RMSE, MAE and coverage of predictions of the same keys."""
    both = predicted.set_index("id").loc[actual["id"]]
    y = actual["y"].to_numpy()
    error = y - both["prediction"].to_numpy()
    inside = (both["lower"].to_numpy() <= y) & (y <= both["upper"].to_numpy())
    return float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error))), float(np.mean(inside))


def test_thirty_new_true_values_are_held_against_the_predictions_that_stood(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    first = publish(0.1)
    trained = consume(exposure)
    assert found(con) == []  # nothing stood
    predicted = con.execute("select id, prediction, lower, upper from lake.ml.predictions").df()
    second = change(f"update lake.features.points set y = y + 0.04 * (cast(substr(id, 2) as int) - 99) where {THIRTY}")
    said: list[str] = []
    consume_and_complete(exposure, say=said.append)
    assert found(con) == [(second, trained.version_id, first, 30)]
    actual = con.execute(f"select id, y from lake.features.points where {THIRTY}").df()
    assert len(actual) == 30
    rmse, mae, coverage = con.execute("select rmse, mae, coverage from lake.ml.live_errors").fetchall()[0]
    expected = by_hand(actual, predicted)
    assert (rmse, mae, coverage) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected[2] < 1  # values both inside and outside
    assert any(sentence.startswith(f"30 true values that {trained.version_id} had not seen: RMSE") for sentence in said)
    commits = con.execute("select author, commit_message from lake.snapshots() order by snapshot_id desc limit 1")
    assert commits.fetchall() == [("ml", f"points {second} completed")]


def test_values_that_the_version_knew_do_not_count(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    publish(0.1)
    consume(exposure)
    # other features, fewer rows, new keys: no key that was predicted has another true value
    change(
        "update lake.features.points set a = a + 1",
        "delete from lake.features.points where id in ('k0', 'k1')",
        "insert into lake.features.points values ('new', 1, 1, 'c1', 1001)",
    )
    consume(exposure)
    assert found(con) == []


def test_a_version_that_stays_is_measured_on_every_value_that_it_never_saw(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    publish(0.1)
    first = consume(exposure)
    # much worse to learn from: the refresh is kept out, and the first version predicts 400 new values and 50 new keys
    second = publish(0.1, rows=450, noise=30.0)
    assert consume(exposure).champion_id == first.version_id
    third = change("update lake.features.points set y = y + 1 where id in ('k1', 'k449')")
    consume(exposure)
    counted = {(publication, version): rows for publication, version, _, rows in found(con)}
    assert counted == {(second, first.version_id): 400, (third, first.version_id): 450}
    predicted = con.execute(
        "select id, prediction, lower, upper from lake.ml.predictions where publication_id = ?", [second]
    ).df()
    actual = con.execute("select id, y from lake.features.points").df()
    numbers = con.execute(
        "select rmse, mae, coverage from lake.ml.live_errors where publication_id = ?", [third]
    ).fetchall()[0]
    assert numbers == pytest.approx(by_hand(actual, predicted), rel=1e-12)


def test_after_a_rollback_both_versions_that_predicted_are_measured_each_on_what_it_had_not_seen(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    publish(0.1)
    first = consume(exposure)
    second = change(f"update lake.features.points set y = y + 0.1 where {THIRTY}")
    refreshed = consume(exposure)
    assert refreshed.champion_id == refreshed.version_id
    promotion.rollback(exposure, by="Ann", reason="odd", say=silent)
    third = change("update lake.features.points set y = y + 0.1 where id in ('k1', 'k2', 'k3')")
    consume(exposure)
    now = {(version, rows) for at, version, stood, rows in found(con) if (at, stood) == (third, second)}
    assert now == {(first.version_id, 33), (refreshed.version_id, 3)}


def test_rows_that_come_back_are_measured_without_being_learned_from(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1, noise=1.0, invocation="one")
    consume(exposure)
    publish(0.1, noise=1.02, invocation="two")
    second = consume(exposure)
    back = publish(0.1, noise=1.0, invocation="three")
    assert consume(exposure).outcome == "unchanged"
    assert (back, second.version_id, 400) in [(row[0], row[1], row[3]) for row in found(con)]


def test_of_many_rows_a_sample_is_looked_at_the_same_keys_on_every_side(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    exposure = replace(exposure, spec=exposure.spec.model_copy(update={"max_rows": 1_000}))
    publish(0.1, rows=4_000)
    consume(exposure)
    predicted = con.execute("select id, prediction, lower, upper from lake.ml.predictions").df()
    changed = change("update lake.features.points set y = y + 1")
    publication = publications.publication(con, changed)
    assert publication is not None
    (error,) = live_error.measure(con, exposure, publication)
    actual = con.execute(
        f"select id, y from lake.features.points where {folds.sampled_sql(('id',), 4_000, 1_000, exposure.spec.seed)}"
    ).df()
    assert 900 < len(actual) < 1_100
    assert error.row_count == len(actual)
    assert (error.rmse, error.mae, error.coverage) == pytest.approx(by_hand(actual, predicted), rel=1e-12)


def test_it_is_quick_beside_a_long_history(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    publish(0.1, rows=20_640)
    consume(exposure)
    changed = change(f"update lake.features.points set y = y + 0.1 where {THIRTY}")
    # a history of 30 publications that were predicted before
    con.execute(
        "insert into lake.ml.predictions select exposure, 'old ' || i, id, prediction, lower, upper, version_id, "
        "predicted_at from lake.ml.predictions, range(30) as t(i) order by i"
    )
    publication = publications.publication(con, changed)
    champion = champions.champion(con, exposure.name)
    assert publication is not None
    assert champion is not None
    seconds = []
    for _ in range(3):
        began = time.process_time()  # of all threads: what else runs on the machine does not count
        (error,) = live_error.measure(con, exposure, publication)
        seconds.append(time.process_time() - began)
    assert (error.version_id, error.row_count) == (champion.version_id, 30)
    assert min(seconds) < 0.3  # 0.16 s of two cores


def test_rows_without_an_answer_are_predicted_and_judged_when_their_answers_come(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, change: Change
) -> None:
    publish(0.1)
    answers = con.execute(f"select id, y from lake.features.points where {THIRTY} order by id").df()
    first = change(f"update lake.features.points set y = null where {THIRTY}")
    said: list[str] = []
    made = consume_and_complete(exposure, say=said.append)
    assert made is not None
    assert made.predicted_rows == 400
    assert made.metrics["rows"] == 370
    assert "30 of 400 rows have no y, the target: they are predicted, and not learned from" in [
        sentence.rpartition("  ")[2] for sentence in said
    ]
    assert con.execute("select row_count from lake.ml.model_versions").fetchall() == [(370,)]
    assert con.execute(f"select count(*) from lake.ml.heldout_predictions where {THIRTY}").fetchall() == [(0,)]
    predicted = con.execute(f"select id, prediction, lower, upper from lake.ml.predictions where {THIRTY}").df()
    assert predicted["prediction"].notna().all()

    # the answers of ten come, those of twenty are still unknown
    second = change(*(f"update lake.features.points set y = {y!r} where id = '{id}'" for id, y in answers.values[:10]))
    consume(exposure)
    assert found(con) == [(second, made.version_id, first, 10)]
    rmse, mae, coverage = con.execute("select rmse, mae, coverage from lake.ml.live_errors").fetchall()[0]
    assert (rmse, mae, coverage) == pytest.approx(by_hand(answers.head(10), predicted), rel=1e-12)
