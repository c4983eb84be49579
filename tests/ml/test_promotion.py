"""The champion changes in one commit, predictions follow, and the history keeps who and why."""

from dataclasses import replace

import duckdb
import pytest

from ml import consumption, promotion
from ml.exposures import Exposure
from ml.promotion import PromotionError
from ml.records import champions
from ml.spec import CandidateSpec
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def consume(exposure: Exposure) -> str:
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    assert made.version_id is not None
    return made.version_id


def predicted(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, int]]:
    return con.execute(
        "select publication_id, version_id, count(*) from lake.ml.predictions group by all order by min(predicted_at)"
    ).fetchall()


def test_a_rollback_is_one_commit_and_the_newest_rows_are_predicted_by_the_version_before(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    old = publish(0.1)
    first = consume(exposure)
    new = publish(0.2, rows=500)
    second = consume(exposure)
    before = con.execute("select max(snapshot_id) from lake.snapshots()").fetchone()
    assert before is not None
    done = promotion.rollback(exposure, by="Ann", reason="the second is odd", say=silent)
    assert (done.version_id, done.before_id, done.publication_id, done.predicted_rows) == (first, second, new, 500)
    champion = champions.champion(con, "points")
    assert champion is not None
    assert champion.version_id == first
    assert predicted(con) == [(old, first, 400), (new, second, 500), (new, first, 500)]
    commits = con.execute(
        "select author, commit_message from lake.snapshots() where snapshot_id > ?", [before[0]]
    ).fetchall()
    assert commits == [("Ann", f"points promote {first}")]
    history = con.execute(
        "select version_id, promoted_by, reason from lake.ml.promotions order by promotion"
    ).fetchall()
    assert [(who, version) for version, who, _ in history] == [("gate", first), ("gate", second), ("Ann", first)]
    assert history[2][2] == "the second is odd"
    again = promotion.promote(exposure, second, by="Ann", reason="it was not", say=silent)
    assert again.predicted_rows == 0  # they are there


def test_the_next_publication_is_judged_against_the_promoted_champion(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    consume(exposure)
    publish(0.2)
    consume(exposure)
    promotion.rollback(exposure, by="Ann", reason="back", say=silent)
    publish(0.3)
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    assert made.outcome == "refreshed"
    assert made.champion_id == made.version_id


def test_what_cannot_be_promoted_says_why_and_changes_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    with pytest.raises(PromotionError, match="has no champion before this one to go back to"):
        promotion.rollback(exposure, by="Ann", reason="a try", say=silent)
    with pytest.raises(PromotionError, match=r"has no version nothing\. It has none yet\."):
        promotion.promote(exposure, "nothing", by="Ann", reason="a try", say=silent)
    publish(0.1)
    first = consume(exposure)
    with pytest.raises(PromotionError, match=f"Version {first} of points is the champion already"):
        promotion.promote(exposure, first, by="Ann", reason="a try", say=silent)
    with pytest.raises(PromotionError, match=f"It has {first}"):
        promotion.promote(exposure, "nothing", by="Ann", reason="a try", say=silent)
    assert con.execute("select count(*) from lake.ml.promotions").fetchall() == [(1,)]


def test_a_version_that_reads_a_column_that_is_gone_is_not_promoted(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    con.execute("create table lake.features.kept as from lake.features.points")
    publish(0.2)
    narrow = replace(exposure, columns={name: kind for name, kind in exposure.columns.items() if name != "b"})
    con.execute("alter table lake.features.points drop column b")
    con.execute(
        "insert into lake.ops.publications select 'features.points@9999', 'features.points', "
        "(select max(snapshot_id) from lake.snapshots()), 'f', '1', 400, 'i', 'me', null, now()"
    )
    consumption.consume(replace(narrow, spec=narrow.spec.model_copy(update={"refresh_margin": 1e9})), say=silent)
    with pytest.raises(PromotionError, match=rf"Version {first} of points learned from b, which .* has no more"):
        promotion.promote(narrow, first, by="Ann", reason="a try", say=silent)
    champion = champions.champion(con, "points")
    assert champion is not None
    assert champion.version_id != first


def test_a_challenger_wins_takes_over_and_is_what_the_next_run_refreshes(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    def with_curve(seed: float) -> None:
        publish(seed, rows=2000)
        con.execute("update lake.features.points set y = y + 30 * sin(a)")
        con.execute(
            f"insert into lake.ops.publications select 'features.points@curve{seed}', 'features.points', "
            f"(select max(snapshot_id) from lake.snapshots()), 'f{seed}', '1', 2000, 'i', 'me', null, now()"
        )

    with_curve(0.1)
    linear = consume(exposure)
    both = replace(
        exposure,
        spec=exposure.spec.model_copy(
            update={"candidates": (*exposure.spec.candidates, CandidateSpec(name="gradient_boosting"))}
        ),
    )
    with_curve(0.2)
    made = consumption.consume(both, say=silent)
    assert made is not None
    assert made.outcome == "trained"
    assert made.champion_id == made.version_id != linear
    assert made.reason.startswith("challenge won: gradient_boosting has held-out RMSE")
    judged = con.execute(
        "select distinct candidate from lake.ml.model_metrics where version_id = ? order by 1", [made.version_id]
    ).fetchall()
    assert judged == [("gradient_boosting",), ("mean",), ("ridge",)]
    with_curve(0.3)
    again = consumption.consume(both, say=silent)
    assert again is not None
    assert again.outcome == "refreshed"
    # asked for ridge alone, the champion's recipe still defends itself, and wins
    with_curve(0.4)
    last = consumption.consume(exposure, say=silent)
    assert last is not None
    assert last.outcome == "refreshed"
    champion = champions.champion(con, "points")
    assert champion is not None
    assert champion.candidate == "gradient_boosting"


def test_a_change_without_a_reason_is_refused_before_anything_is_asked(exposure: Exposure) -> None:
    for reason in ("", " \n"):
        with pytest.raises(PromotionError, match=r"No reason is given for another champion of points\. Give one as"):
            promotion.rollback(exposure, by="Ann", reason=reason, say=silent)
