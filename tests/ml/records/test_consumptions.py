"""What came of a publication is one row, by which the same rows are known again and snapshots are kept."""

import duckdb

from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.records import consumptions
from ml.records.consumptions import Judged
from tests.ml.conftest import Publish
from tests.ml.records.conftest import Consumed


def test_a_consumption_is_found_by_its_publication_and_by_what_was_judged(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    publication = consumed.publication
    input_hash = publication.input_hash(exposure)
    row = consumptions.of(con, "points", publication.publication_id)
    assert row is not None
    assert {name: row[name] for name in ("outcome", "reason", "input_hash", "version_id", "run_id")} == {
        "outcome": "trained",
        "reason": consumed.reason,
        "input_hash": input_hash,
        "version_id": consumed.version_id,
        "run_id": None,
    }
    assert consumed.version_id is not None
    found = consumptions.judged(con, exposure, input_hash)
    assert found == Judged(consumed.version_id, publication.publication_id)
    assert consumptions.last_duckdb_version(con, exposure) == duckdb.__version__
    assert consumptions.of(con, "others", publication.publication_id) is None
    assert consumptions.judged(con, exposure, "other") is None


def test_what_is_given_up_is_recorded_and_is_no_judgement(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    publication = consumed.publication
    consumptions.record(con, exposure, publication, "failed", "no space left", input_hash="other", run_id="run")
    assert consumptions.judged(con, exposure, "other") is None
    rows = con.execute("select outcome, reason, run_id from lake.ops.consumptions where input_hash = 'other'")
    assert rows.fetchall() == [("failed", "no space left", "run")]


def test_the_snapshots_that_stay_are_of_versions_and_of_the_newest_publication(
    con: duckdb.DuckDBPyConnection, consumed: Consumption, publish: Publish
) -> None:
    publish(0.2)
    newest = int(publish(0.3).rsplit("@", 1)[1])
    assert consumptions.pinned_snapshots(con) == {consumed.publication.snapshot_id, newest}
