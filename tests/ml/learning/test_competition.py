"""From a publication to a version: who competes, under which name the champion defends, and what is saved."""

from dataclasses import replace

import duckdb
import pytest

from ml.exposures import Exposure
from ml.lake import artifacts
from ml.learning import competition
from ml.learning.candidates import EstimatorError
from ml.learning.competition import Learned
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
    assert len(learned.metrics[learned.metrics["candidate"] == "mean"]) == 12  # once: two splits, six metrics
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
    assert learned.version.recipe.path == LINE.estimator


def test_a_champion_s_recipe_that_cannot_be_built_competes_no_more_and_one_that_is_asked_for_is_an_error(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    gone = CandidateSpec(name="gone", estimator="sklearn.nowhere.Gone")
    learned, said = learn(con, with_recipes(exposure, RIDGE), Champion(gone, 0.3))
    assert (learned.version.candidate, learned.refreshed) == ("ridge", False)
    assert any(sentence.startswith("The champion's recipe competes no more: candidate gone") for sentence in said)
    assert learned.verdict.reason.startswith("first model")
    with pytest.raises(EstimatorError, match="candidate gone"):
        learn(con, with_recipes(exposure, RIDGE, gone), None)
