"""A past publication gives the same version and the same predictions again, and adds nothing."""

from dataclasses import replace

import duckdb
import pytest

from ml import consumption, lake, replay
from ml.exposures import Exposure
from tests.ml import mixed
from tests.ml.conftest import Publish


def repeat(exposure: Exposure, publication: str) -> replay.Replay:
    return replay.replay(exposure, publication, say=lambda sentence: None)


def test_an_old_publication_is_repeated_bit_for_bit_after_the_table_was_replaced(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    old = publish(0.1)
    trained = consumption.consume(exposure, say=lambda sentence: None)
    publish(0.2, rows=500)
    consumption.consume(exposure, say=lambda sentence: None)
    before = con.execute("select max(snapshot_id) from lake.snapshots()").fetchone()
    first, second = repeat(exposure, old), repeat(exposure, old)
    assert trained is not None
    assert first.version_id == trained.version_id
    assert first.holds
    assert first.largest_difference == 0
    assert first.sentence == (f"{old} gives version {first.version_id} again, and the same predictions, bit for bit")
    assert first.predictions.equals(second.predictions)
    assert len(first.predictions) == 400
    assert con.execute("select max(snapshot_id) from lake.snapshots()").fetchone() == before


def test_a_changed_prediction_is_found(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    publication = publish()
    consumption.consume(exposure, say=lambda sentence: None)
    con.execute("update lake.ml.predictions set prediction = prediction * (1 + 1e-9) where id = 'k7'")
    repeated = repeat(exposure, publication)
    assert repeated.largest_difference == pytest.approx(1e-9, rel=1e-3)
    assert not repeated.holds


def test_what_cannot_be_repeated_says_why(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    old, new = publish(0.1), publish(0.2)
    with pytest.raises(replay.ReplayError, match=r"There is no publication features\.points@none"):
        repeat(exposure, "features.points@none")
    with pytest.raises(replay.ReplayError, match=r"for points, as `publication_id`: there is none yet\."):
        repeat(exposure, "")
    with pytest.raises(replay.ReplayError, match=f"{new} has no version of points to repeat: it is not consumed yet"):
        repeat(exposure, new)
    consumption.consume(exposure, say=lambda sentence: None)
    with pytest.raises(replay.ReplayError, match=f"{old} has no version of points to repeat: it is superseded"):
        repeat(exposure, old)
    with pytest.raises(replay.ReplayError, match=f"Name the publication .* the newest that was learned from is {new}"):
        repeat(exposure, "")
    wider = replace(exposure, spec=exposure.spec.model_copy(update={"folds": 4}))
    with pytest.raises(replay.ReplayError, match="was made with another spec or contract than exposure points has"):
        repeat(wider, new)


def test_from_a_prediction_two_statements_read_the_rows_that_it_was_learned_from(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    consumption.consume(exposure, say=lambda sentence: None)
    con.execute("drop table lake.features.points")
    with lake.connect() as reader:
        reader.execute(
            """
            set variable learned_from = (
                select versions.snapshot_id
                from lake.ml.predictions
                join lake.ml.model_versions as versions using (exposure, version_id)
                where predictions.id = 'k7'
            )
            """
        )
        rows = reader.execute(
            "select count(*), min(y) > 900 from lake.features.points at (version => getvariable('learned_from'))"
        ).fetchall()
    assert rows == [(400, True)]


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting"])
def test_columns_of_all_kinds_are_repeated_bit_for_bit(candidate: str, con: duckdb.DuckDBPyConnection) -> None:
    asked = mixed.exposure(candidate)
    publication = mixed.publish(con, mixed.frame())
    consumption.consume(asked, say=lambda sentence: None)
    first, second = repeat(asked, publication), repeat(asked, publication)
    assert first.holds
    assert first.predictions.equals(second.predictions)
