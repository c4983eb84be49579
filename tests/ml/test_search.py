"""A search in the lake: what is found challenges the champion, and competes under its name until the spec changes."""

import json
from dataclasses import replace

import duckdb
import pytest

from ml import consumption, promotion
from ml.exposures import Exposure
from ml.records import champions
from ml.reports import card
from ml.reports import facts as version_facts
from ml.search import SearchError, search
from ml.spec import CandidateSpec, SearchSpec
from tests.ml.conftest import Publish
from tests.ml.rows import silent

# Two leaves and one tree predict little more than the mean; what the space offers is better.
WEAK = CandidateSpec(
    name="boosting",
    estimator="sklearn.ensemble.HistGradientBoostingRegressor",
    parameters={"max_iter": 1, "max_leaf_nodes": 2},
    search=SearchSpec(space={"max_iter": [20, 30], "max_leaf_nodes": [8]}, trials=3),
)


def asking(exposure: Exposure, recipe: CandidateSpec) -> Exposure:
    return replace(exposure, spec=exposure.spec.model_copy(update={"candidates": (recipe,)}))


def test_what_is_found_wins_serves_and_is_refreshed_with_new_rows(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    exposure = asking(exposure, WEAK)
    first = publish(0.1)
    assert consumption.consume(exposure, say=silent)
    before = champions.champion(con, exposure.name)
    assert before is not None

    done = search(exposure, by="Ann", say=silent)
    champion = champions.champion(con, exposure.name)
    assert champion is not None and champion.version_id == done.promoted_id != before.version_id
    assert champion.parameters["recipe"]["found"] == done.recipes[0].found
    assert done.recipes[0].found["max_iter"] in (20, 30)
    assert done.reason.startswith("challenge won: boosting has held-out RMSE ")

    tried = con.execute(
        "select trial, parameters, loss, folds from lake.ml.trials where publication_id = ? order by trial", [first]
    ).fetchall()
    expected = [(t.number, json.dumps(t.parameters), t.loss, t.folds) for t in done.trials["boosting"]]
    assert tried == expected
    assert len(tried) == 3
    # one snapshot has the version, the promotion, the trials and the predictions
    last = "select author, commit_message from lake.snapshots() order by snapshot_id desc limit 1"
    assert con.execute(last).fetchall() == [("Ann", f"{exposure.name} {first} searched")]
    predicted = con.execute(
        "select count(*) from lake.ml.predictions where exposure = ? and publication_id = ? and version_id = ?",
        [exposure.name, first, champion.version_id],
    ).fetchall()
    assert predicted == [(400,)]
    # what came of the publication itself is another version's story
    facts = version_facts.read(con, exposure, champion.version_id)
    told = card.to_html(facts, [])
    assert facts.consumption is None
    assert "A search found it, and the gate let it through" in told
    assert done.reason.partition(":")[0] in told
    assert "did not let it through" not in told

    publish(0.2)
    again = consumption.consume(exposure, say=silent)
    assert again is not None and again.outcome == "refreshed"
    refreshed = champions.champion(con, exposure.name)
    assert refreshed is not None and refreshed.version_id == again.version_id
    assert refreshed.parameters["recipe"] == champion.parameters["recipe"]
    assert con.execute(
        "select distinct candidate from lake.ml.model_metrics where version_id = ? order by 1", [again.version_id]
    ).fetchall() == [("boosting",), ("mean",)]


def test_the_same_found_again_changes_nothing_and_after_a_rollback_serves_again(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    exposure = asking(exposure, WEAK)
    publish(0.1)
    consumption.consume(exposure, say=silent)
    found = search(exposure, say=silent)
    again = search(exposure, say=silent)
    assert again.promoted_id is None
    assert again.reason.startswith("the champion stays: ")
    assert again.recipes == found.recipes
    promotion.rollback(exposure, by="Ann", reason="a doubt", say=silent)
    assert search(exposure, say=silent).promoted_id == found.promoted_id
    versions = con.execute("select count(*), count(distinct version_id) from lake.ml.model_versions").fetchall()
    assert versions == [(2, 2)]


def test_a_recipe_changed_in_the_spec_competes_beside_what_was_found(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    consumption.consume(asking(exposure, WEAK), say=silent)
    search(asking(exposure, WEAK), say=silent)
    publish(0.2)
    changed = WEAK.model_copy(update={"parameters": {"max_iter": 2, "max_leaf_nodes": 2}})
    done = consumption.consume(asking(exposure, changed), say=silent)
    assert done is not None and done.outcome == "refreshed"
    assert con.execute(
        "select distinct candidate from lake.ml.model_metrics where version_id = ? order by 1", [done.version_id]
    ).fetchall() == [("boosting",), ("boosting_before",), ("mean",)]


def test_a_search_with_nothing_to_search_or_to_challenge_says_so(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    with pytest.raises(SearchError, match=r"Exposure points: no candidate in meta\.ml\.candidates has `search`"):
        search(exposure, say=silent)
    with pytest.raises(SearchError, match=r"Exposure points has no champion to challenge yet: build features\.points"):
        search(asking(exposure, WEAK), say=silent)
    assert con.execute("from lake.ml.trials").fetchall() == []


def test_a_candidate_that_cannot_be_searched_keeps_no_other_from_it(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    odd = CandidateSpec(
        name="odd",
        estimator="tests.ml.learning.unruly.Unruly",
        parameters={"how": "fit"},
        search=SearchSpec(space={"rows": [1, 2]}, trials=2),
    )
    publish()
    assert consumption.consume(asking(exposure, WEAK), say=silent)
    both = replace(exposure, spec=exposure.spec.model_copy(update={"candidates": (odd, WEAK)}))
    said: list[str] = []
    done = search(both, by="Ann", say=said.append)
    why = "candidate odd cannot be searched: KeyError: 'no such thing'."
    assert f"A candidate is not searched: {why}" in said
    assert list(done.trials) == ["boosting"] and done.promoted_id is not None
    with pytest.raises(SearchError) as error:
        search(asking(exposure, odd), say=silent)
    assert str(error.value) == f"Exposure points has no candidate that can be searched: {why}"
