"""`predictions: {incremental, keep}`: new and changed rows alone are predicted, and what stands is as if all were."""

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from ml import consumption, maintenance, promotion
from ml.exposures import Exposure
from ml.records import champions, predictions, publications, scorings, versions
from ml.serving import scoring
from ml.spec import CandidateSpec, PredictionsSpec
from tests.ml.conftest import Publish
from tests.ml.rows import silent

RIDGE = CandidateSpec(name="ridge")
TREE = CandidateSpec(name="tree", estimator="sklearn.tree.DecisionTreeRegressor", parameters={"max_depth": 5})


def asked(exposure: Exposure, recipe: CandidateSpec = RIDGE, **predicted: Any) -> Exposure:
    update = {"candidates": (recipe,), "predictions": PredictionsSpec(**predicted)}
    return replace(exposure, spec=exposure.spec.model_copy(update=update))


def change(con: duckdb.DuckDBPyConnection, number: int, *statements: str) -> str:
    """Change features.points, and its target so that nothing new is promoted, and publish it; the publication's id."""
    con.execute("begin")
    for statement in (*statements, f"update points set y = y + 40 * (hash(id, {number}) % 7)"):
        con.execute(statement.replace("points", "lake.features.points"))
    con.execute(f"call lake.set_commit_message('dbt', 'change {number}', extra_info => 'features.points')")
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(f"change {number}", "features.points")).fetchall()
    con.execute(publications.insert_sql(f"change {number}", "features.points", str(snapshot)))
    return f"features.points@{snapshot}"


def stand_as_if_all_were_predicted(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    """What stands is to the bit what the champion gives for all rows of the newest publication."""
    champion, publication = champions.champion(con, "points"), champions.newest_predicted(con, exposure)
    assert champion is not None and publication is not None
    estimator = versions.load(con, "points", champion)
    with scoring.predicted(con, exposure, publication, champion, estimator, silent) as rows:
        expected = con.execute(f"select id, prediction, lower, upper from {rows} order by id").fetchall()
    view = f"(from {predictions.current(exposure)} where exposure = 'points')"
    assert con.execute(f"select id, prediction, lower, upper from {view} order by id").fetchall() == expected
    found = predictions.of_version(con, exposure, publication.publication_id, champion.version_id)
    assert [tuple(row) for row in found.to_numpy().tolist()] == expected
    counted = predictions.count_standing(con, exposure)
    assert counted is not None and counted[1:] == (len(expected),) * 3


@pytest.mark.parametrize("recipe", [RIDGE, TREE], ids=["as SQL", "from batches"])
def test_new_and_changed_rows_alone_are_predicted_and_what_is_gone_stands_no_more(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, recipe: CandidateSpec
) -> None:
    exposure = asked(exposure, recipe, incremental=True)
    publish(0.1)
    first = consumption.consume(exposure, say=silent)
    assert first is not None and first.predicted_rows == 400
    steps: list[tuple[tuple[str, ...], int]] = [
        (
            (
                "update points set a = a + 1 where id in ('k1', 'k2', 'k3')",
                "delete from points where id in ('k4', 'k5')",
                "insert into points select 'new ' || i, i, 1, 'c1', 1000 from range(3) as t(i)",
            ),
            6,
        ),
        ((), 0),
        (
            (
                "update points set a = a - 1 where id = 'k1'",
                "delete from points where id in ('k2', 'new 0')",
                "insert into points values ('k4', 7, 2, 'c4', 1017)",
            ),
            2,
        ),
        (("insert into points values ('k2', 1, 1, 'c2', 1001)",), 1),
    ]
    said: list[str] = []
    for number, (statements, rows) in enumerate(steps):
        publication = change(con, number, *statements)
        made = consumption.consume(exposure, say=said.append)
        assert made is not None and (made.outcome, made.champion_id) == ("refreshed", first.version_id)
        assert made.predicted_rows == rows
        written = "select count(*) from lake.ml.predictions where publication_id = ?"
        assert con.execute(written, [publication]).fetchall() == [(rows,)]
        stand_as_if_all_were_predicted(con, exposure)
    assert any("predicted 6 of 401 rows, new or changed since features.points@" in line for line in said)

    # another champion predicts all, and the one before goes on from where it was
    newest = versions.version_ids(con, "points")[-1]
    assert promotion.promote(exposure, newest, by="me", reason="try", say=silent).predicted_rows == 401
    stand_as_if_all_were_predicted(con, exposure)
    assert promotion.rollback(exposure, by="me", reason="back", say=silent).predicted_rows == 0
    stand_as_if_all_were_predicted(con, exposure)


def test_rows_that_came_back_stand_as_they_did(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    exposure = asked(exposure, incremental=True)
    publish(0.1)
    consumption.consume(exposure, say=silent)
    change(con, 0, "update points set a = 0 where id = 'k7'")
    consumption.consume(exposure, say=silent)
    publish(0.1, invocation="the first rows again")
    made = consumption.consume(exposure, say=silent)
    assert made is not None and (made.outcome, made.predicted_rows) == ("unchanged", 0)
    stand_as_if_all_were_predicted(con, exposure)


def test_without_it_all_rows_are_predicted_each_time(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    exposure = asked(exposure)
    publish(0.1)
    consumption.consume(exposure, say=silent)
    change(con, 0, "update points set a = 0 where id = 'k7'")
    made = consumption.consume(exposure, say=silent)
    assert made is not None and made.predicted_rows == 400
    stand_as_if_all_were_predicted(con, exposure)


@pytest.mark.parametrize(("keep", "left"), [("latest", 402), ("1 hour", 1202), ("all", 1202)])
def test_what_is_not_kept_is_pruned_and_what_stands_stays(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, keep: str, left: int
) -> None:
    exposure = asked(exposure, incremental=True, keep=keep)
    publish(0.2)
    consumption.consume(exposure, say=silent)
    publish(0.3)
    consumption.consume(exposure, say=silent)
    publish(0.1)
    consumption.consume(exposure, say=silent)
    change(con, 0, "update points set a = 0 where id in ('k7', 'k8')", "delete from points where id = 'k9'")
    consumption.consume(exposure, say=silent)
    done = maintenance.maintain([exposure], say=silent)
    assert con.execute("select count(*) from lake.ml.predictions").fetchall() == [(left,)]
    assert done.pruned_predictions == 1202 - left
    stand_as_if_all_were_predicted(con, exposure)
    change(con, 1, "update points set a = 1 where id = 'k7'")
    made = consumption.consume(exposure, say=silent)
    assert made is not None and made.predicted_rows == 1
    stand_as_if_all_were_predicted(con, exposure)
    assert scorings.versions_of(con, exposure, "nothing") == []
