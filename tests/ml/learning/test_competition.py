"""From a publication to a version: who competes, under which name the champion defends, and what is saved."""

from dataclasses import replace

import duckdb
import pytest

from ml.exposures import Exposure
from ml.lake import artifacts
from ml.learning import competition
from ml.learning.competition import Learned
from ml.learning.fits import EstimatorError
from ml.progress import Stopwatch
from ml.records import publications
from ml.records.champions import Champion
from ml.records.versions import version_id
from ml.spec import CandidateSpec
from tests.ml.conftest import Publish

RIDGE = CandidateSpec(name="ridge")
LINE = CandidateSpec(name="line", estimator="sklearn.linear_model.LinearRegression")
DUMMY = CandidateSpec(name="line", estimator="sklearn.dummy.DummyRegressor")


def with_recipes(exposure: Exposure, *recipes: CandidateSpec) -> Exposure:
    return replace(exposure, spec=exposure.spec.model_copy(update={"candidates": recipes}))


def learn(con: duckdb.DuckDBPyConnection, exposure: Exposure, champion: Champion | None) -> tuple[Learned, list[str]]:
    said: list[str] = []
    publication = publications.pending(con, exposure)[-1]
    return competition.learn(con, exposure, publication, "a hash", champion, Stopwatch(said.append)), said


def test_a_first_version_is_judged_named_by_what_made_it_and_saved(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    learned, said = learn(con, with_recipes(exposure, RIDGE, DUMMY), None)
    version = learned.version
    assert (version.candidate, version.features) == ("ridge", ("a", "b"))
    assert version.version_id == version_id("a hash", "ridge")
    assert (learned.verdict.promoted, learned.refreshed) == (True, False)
    assert learned.judgement is learned.judgements["ridge"]
    assert set(learned.metrics["candidate"]) == {"ridge", "line", "mean"}
    assert len(learned.metrics[learned.metrics["candidate"] == "mean"]) == 6  # once, by the spec's split
    assert (version.recipe, set(version.chosen)) == (RIDGE, {"alpha"})
    assert artifacts.load(con, version.artifact)[-1].coef_.tolist() == learned.estimator[-1].coef_.tolist()
    means, scaler = artifacts.load(con, version.scaler)
    assert list(means.values()) == scaler.mean_.tolist()
    assert [sentence.split()[0] for sentence in said] == ["read", "judged", "fitted", "saved"]


def test_the_champion_s_recipe_defends_though_it_is_asked_for_no_more(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    learned, _ = learn(con, with_recipes(exposure, DUMMY), Champion(RIDGE, 0.3))
    assert (learned.version.candidate, learned.refreshed) == ("ridge", True)
    assert set(learned.judgements) == {"line", "ridge"}
    assert learned.verdict.reason.startswith("refresh: held-out RMSE")


def test_a_name_that_means_another_recipe_now_lets_the_champion_s_defend_under_another(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    learned, _ = learn(con, with_recipes(exposure, DUMMY), Champion(LINE, 0.3))
    assert set(learned.judgements) == {"line", "line_before"}
    assert (learned.version.candidate, learned.refreshed) == ("line_before", True)
    assert learned.version.recipe.path("regression") == LINE.estimator


GONE = CandidateSpec(name="gone", estimator="sklearn.nowhere.Gone")


def unruly(name: str, **parameters: object) -> CandidateSpec:
    return CandidateSpec(name=name, estimator="tests.ml.learning.unruly.Unruly", parameters=parameters)


def test_candidates_that_fail_are_results_and_the_rest_compete(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    learned, said = learn(con, with_recipes(exposure, GONE, RIDGE, unruly("odd", how="one fold")), None)
    assert (learned.version.candidate, learned.verdict.promoted) == ("ridge", True)
    assert list(learned.judgements) == ["ridge"]
    gone, odd = learned.failed["gone"], learned.failed["odd"]
    assert gone.startswith(
        "candidate gone: estimator sklearn.nowhere.Gone cannot be imported: No module named 'sklearn"
    )
    assert odd == "candidate odd: it cannot be fitted: KeyError: 'no such thing'."
    assert [f"A candidate competes no more: {why}" for why in (gone, odd)] == [one for one in said if "no more" in one]
    assert learned.version.parameters["failed"] == {"gone": gone, "odd": odd}
    # the champion's recipe is no exception: what cannot be imported cannot serve either
    learned, said = learn(con, with_recipes(exposure, RIDGE), Champion(GONE, 0.1))
    assert f"The champion's recipe competes no more: {gone}" in said
    assert (learned.version.candidate, learned.refreshed, learned.verdict.promoted) == ("ridge", False, True)
    assert learned.verdict.reason.startswith("first model")
    with pytest.raises(EstimatorError) as error:
        learn(con, with_recipes(exposure, GONE, unruly("odd", how="fit")), None)
    assert str(error.value) == f"Exposure points has no candidate that can be learned: {gone} {odd}"


def test_the_next_best_follows_one_that_fails_on_all_rows(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    best = unruly("best", how="everything", rows=400)
    learned, _ = learn(con, with_recipes(exposure, best, DUMMY), None)
    assert (learned.version.candidate, set(learned.judgements)) == ("line", {"line"})
    assert learned.failed == {"best": "candidate best: it cannot be fitted: too many rows."}
    # the champion's recipe fails, but the champion serves: who follows must not be worse than it was
    champion = unruly("odd", how="nan")
    for rmse, promoted in ((1000.0, True), (1.0, False)):
        learned, _ = learn(con, with_recipes(exposure, DUMMY, champion), Champion(champion, rmse))
        assert (learned.version.candidate, learned.refreshed, learned.verdict.promoted) == ("line", False, promoted)
        assert learned.verdict.reason.startswith("the champion's recipe failed, and another follows: held-out RMSE")
