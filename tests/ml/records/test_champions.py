"""Who serves, who served before, and whether it can predict what is asked for."""

from dataclasses import replace

import duckdb
import pytest

from ml.exposures import Exposure
from ml.records import champions, versions
from ml.records.champions import Standing
from tests.ml.records.conftest import Consumed


def test_before_the_first_promotion_nobody_serves(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    assert champions.champion(con, "points") is None
    assert champions.champion_before(con, "points") is None
    assert champions.with_champions(con) == []
    assert champions.newest_predicted(con, exposure) is None


def test_the_champion_stands_with_its_recipe_and_its_error(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    standing = champions.standing(con, exposure, consumed.publication)
    assert standing.champion is not None and standing.defender is not None
    assert (standing.champion.version_id, standing.outdated) == (consumed.version_id, None)
    assert standing.defender.recipe == exposure.spec.recipes[0]
    assert standing.defender.loss == pytest.approx(consumed.metrics["rmse"], rel=1e-12)
    assert champions.with_champions(con) == ["points"]
    assert champions.newest_predicted(con, exposure) == consumed.publication
    trained_at = versions.origin(con, "points", standing.champion.version_id)[1]
    assert champions.standing(con, exposure, consumed.publication, before=trained_at) == Standing(None, None, None)


def test_another_version_that_is_promoted_serves_after_the_one_before(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    first = champions.champion(con, "points")
    assert first is not None
    champions.promote(con, exposure, replace(first, version_id="other"), "Ann", "for a test")
    promoted = con.execute(
        "select promotion, version_id, promoted_by, reason from lake.ml.promotions order by promotion"
    ).fetchall()
    assert [row[:2] for row in promoted] == [(1, consumed.version_id), (2, "other")]
    assert promoted[1][2:] == ("Ann", "for a test")
    assert champions.champion_before(con, "points") == consumed.version_id


def test_a_champion_that_cannot_answer_says_why(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    champion = champions.champion(con, "points")
    assert champion is not None
    asked = replace(exposure, spec=exposure.spec.model_copy(update={"target": "b"}))
    wanting = replace(champion, features=("a", "gone"))
    found = [
        champions.outdated(con, exposure, champion, consumed.publication),
        champions.outdated(con, asked, champion, consumed.publication),
        champions.outdated(con, exposure, wanting, consumed.publication),
    ]
    assert found == [
        None,
        "was made for the target y, and the spec asks for b",
        f"learned from gone, which {consumed.publication.publication_id} has no more",
    ]
