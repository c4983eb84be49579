"""What maintenance removes, and that it never removes what a registered version needs."""

from datetime import timedelta

import duckdb
import pytest

from ml import consumption, lake, maintenance, replay
from ml.exposures import Exposure
from ml.lake import artifacts
from ml.records import champions, versions
from tests.ml.conftest import Publish

NOW = timedelta(0)


def maintain() -> maintenance.Maintenance:
    return maintenance.maintain(keep=NOW, grace=NOW, say=lambda sentence: None)


def test_snapshots_that_versions_learned_from_stay_and_the_others_go(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    learned = [publish(0.1)]
    consumption.consume(exposure, say=lambda sentence: None)
    superseded = publish(0.2)
    learned.append(publish(0.3))
    consumption.consume(exposure, say=lambda sentence: None)
    waiting = publish(0.4)
    con.execute("drop table lake.features.points")
    done = maintain()
    left = {row[0] for row in con.execute("select snapshot_id from ducklake_snapshots('lake')").fetchall()}
    numbers = {publication: int(publication.split("@")[1]) for publication in (*learned, superseded, waiting)}
    assert {numbers[learned[0]], numbers[learned[1]], numbers[waiting]} <= left
    assert numbers[superseded] not in left
    pinned = {numbers[learned[0]], numbers[learned[1]], numbers[waiting]}
    assert min(left - pinned) > numbers[waiting]  # the drop, which was the newest, and the merge itself
    assert done.expired_snapshots > 0
    for publication in learned:  # the rows are there, in files that were merged: they are summed in another order
        assert replay.replay(exposure, publication, say=lambda sentence: None).holds
    made = consumption.consume(exposure, say=lambda sentence: None)
    assert made is not None
    assert (made.publication.publication_id, made.predicted_rows) == (waiting, 400)


def test_small_files_are_merged_and_the_rows_stay(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    con.execute("create table lake.features.small (i integer)")
    for number in range(5):
        con.execute(f"insert into lake.features.small values ({number})")

    def files() -> int:
        row = con.execute("select count(*) from ducklake_list_files('lake', 'small', schema => 'features')").fetchone()
        assert row is not None
        return int(row[0])

    assert files() == 5
    maintain()
    assert files() == 1
    assert con.execute("select sum(i), count(*) from lake.features.small").fetchall() == [(10, 5)]


def test_an_artifact_goes_only_when_no_version_names_it(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    consumption.consume(exposure, say=lambda sentence: None)
    orphan = artifacts.save(con, "nobody's", "model")
    young = maintenance.maintain(keep=NOW, grace=timedelta(hours=1), say=lambda sentence: None)
    assert young.removed_artifacts == 0
    assert artifacts.load(con, orphan) == "nobody's"
    assert maintain().removed_artifacts == 1
    with pytest.raises(artifacts.ArtifactError, match=orphan.sha256):
        artifacts.load(con, orphan)
    champion = champions.champion(con, exposure.name)
    assert champion is not None
    assert versions.load(con, "points", champion)["ridge"].alpha > 0
    assert len(artifacts.load(con, champion.scaler)) == 2
    assert con.execute(f"select count(*) from glob('{lake.root(con)}/artifacts/*')").fetchall() == [(2,)]
