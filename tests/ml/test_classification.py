"""From publications of classes to what is served: learned, judged, promoted, predicted, judged live, repeated."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ml import consumption, search, serving
from ml.classes import text_of
from ml.lake.artifacts import Artifact
from ml.learning import measures
from ml.learning.calibration import Calibration
from ml.learning.classification import Classification
from ml.linear import predict_sql as linear_sql
from ml.monitoring import checks
from ml.records import champions, publications, tables, versions
from ml.records.tables import TableError
from ml.records.versions import Version
from ml.replay import replay
from ml.serving import scoring
from tests.ml import classified
from tests.ml.classes import exposure as of_frame
from tests.ml.classes import noisy
from tests.ml.classified import KEY, KINDS, SIZE, WHERE
from tests.ml.completed import consume_and_complete
from tests.ml.learning.test_class_judging import made_of
from tests.ml.rows import published, silent, trained_on

NOWHERE = Artifact("", "")


@pytest.mark.parametrize(
    ("target", "name"), [*((target, "logistic") for target in KINDS), ("order", "gradient_boosting")]
)
def test_classes_of_every_type_go_from_a_publication_to_predictions_and_back(
    con: duckdb.DuckDBPyConnection, target: str, name: str
) -> None:
    asked, rows = classified.exposure(target, candidates=(name,)), classified.frame()
    publication = classified.publish(con, rows, asked)
    done = consumption.consume(asked, say=silent)
    assert done is not None
    assert (done.outcome, done.predicted_rows) == ("trained", len(rows))
    assert done.champion_id == done.version_id
    assert done.metrics["log_loss"] < done.baseline["log_loss"]
    assert done.metrics["rows"] == rows[target].notna().sum()

    classes = sorted(KINDS[target][1])
    texts = [text_of(one) for one in classes]
    predicted = con.execute(f'from lake.ml.{asked.spec.predictions} order by "row no"').df()
    assert predicted[KEY].tolist() == rows[KEY].tolist()
    served = np.array([[p[text] for text in texts] for p in predicted["probabilities"]])
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-12)
    assert predicted["prediction"].tolist() == [classes[i] for i in served.argmax(axis=1)]
    probability = served[:, 1] if len(classes) == 2 else served.max(axis=1)
    assert predicted["probability"].tolist() == probability.tolist()
    for one, its, likely in zip(predicted["prediction"], predicted["prediction_set"], served, strict=True):
        assert text_of(one) in its
        assert [text for text in texts if text in its] == list(its)
        assert min(likely[texts.index(text)] for text in its) >= max(
            [likely[i] for i, text in enumerate(texts) if text not in its], default=0
        )

    # the file gives classes, and what is served, without more
    champion = champions.champion(con, asked.name)
    assert champion is not None
    estimator = versions.load(con, asked.name, champion)
    assert estimator.classes_.tolist() == classes
    np.testing.assert_allclose(estimator.predict_proba(rows[[SIZE, WHERE]]), served, rtol=1e-9, atol=1e-12)
    assert np.mean(estimator.predict(rows[[SIZE, WHERE]]) == predicted["prediction"]) > 0.99

    held = con.execute(f"from lake.ml.{asked.heldout} where split = 'random' order by \"row no\"").df()
    known = rows[rows[target].notna()]
    assert held["actual"].tolist() == [text_of(one) for one in known[target]]
    p = np.array([[p[text] for text in texts] for p in held["probabilities"]])
    codes = np.array([texts.index(one) for one in held["actual"]])
    assert measures.of_rows("log_loss", codes, p).mean() == pytest.approx(done.metrics["log_loss"])

    found = serving.predict(con, asked.name, rows)
    np.testing.assert_allclose(found["probability"], predicted["probability"], rtol=1e-9)
    assert found["prediction_set"].tolist() == [list(its) for its in predicted["prediction_set"]]
    assert [list(one) for one in found["probabilities"]] == [texts] * len(rows)
    assert list(serving.predict(con, asked.name, rows[:0]).columns) == list(found.columns)

    again = replay(asked, publication, say=silent)
    assert again.largest_difference == 0


BINARY = "is open?"


def consumed(asked: Any) -> consumption.Consumption:
    done = consume_and_complete(asked)
    assert done is not None
    return done


def test_predictions_are_judged_by_the_answers_that_come_later(con: duckdb.DuckDBPyConnection) -> None:
    asked, rows = classified.exposure("order"), classified.frame(unknown=0.3)
    classified.publish(con, rows, asked)
    first = consumed(asked)
    predicted = con.execute(f'from lake.ml.{asked.spec.predictions} order by "row no"').df().set_index(KEY)
    answered = rows["order"].isna().to_numpy()
    later = classified.frame(unknown=0.0)
    later.loc[answered.nonzero()[0][:5], "order"] = "never seen"  # a class that no version knows
    publication = classified.publish(con, later, asked, "second")
    consumed(asked)
    ((version, count, loss, brier, accuracy, coverage, rmse),) = con.execute(
        "select version_id, row_count, log_loss, brier_score, accuracy, coverage, rmse from lake.ml.live_errors "
        "where publication_id = ?",
        [publication],
    ).fetchall()
    assert (version, count, rmse) == (first.version_id, answered.sum(), None)
    texts = ["", "a'b", "null", "never seen"]
    some = predicted.loc[later[KEY][answered]]
    p = np.array([[one.get(text, 0.0) for text in texts] for one in map(dict, some["probabilities"])])
    truth = later["order"][answered]
    codes = np.array([texts.index(one) for one in truth])
    assert loss == pytest.approx(measures.of_rows("log_loss", codes, p).mean())
    assert brier == pytest.approx(measures.of_rows("brier_score", codes, p).mean())
    assert accuracy == pytest.approx(np.mean(some["prediction"].to_numpy() == truth.to_numpy()))
    assert coverage == pytest.approx(
        np.mean([one in its for one, its in zip(truth, some["prediction_set"], strict=True)])
    )


def test_classes_come_and_go_with_publications(con: duckdb.DuckDBPyConnection) -> None:
    asked = classified.exposure("Klasse")
    rows = classified.frame(unknown=0.0)
    classified.publish(con, rows, asked)
    assert consumed(asked).outcome == "trained"
    more = rows.assign(Klasse=rows["Klasse"].where(rows.index % 7 > 0, 8))
    classified.publish(con, more, asked, "more")
    done = consumed(asked)
    assert done.outcome == "refreshed"
    version = versions.version(con, asked.name, done.version_id or "")
    assert version is not None and version.classification is not None
    assert version.classification["classes"] == [-1, 7, 8, 30]
    assert version.classification["positive"] is None
    fewer = rows[rows["Klasse"] != 30]
    classified.publish(con, fewer, asked, "fewer")
    done = consumed(asked)
    version = versions.version(con, asked.name, done.version_id or "")
    assert version is not None and version.classification is not None
    assert (version.classification["classes"], version.classification["positive"]) == ([-1, 7], 7)
    assert done.champion_id is not None
    known = con.execute(
        f"select distinct len(map_keys(probabilities)) from lake.ml.{asked.spec.predictions} where publication_id = ?",
        [done.publication.publication_id],
    ).fetchall()
    assert known in ([(2,)], [(4,)])  # of whichever serves


def test_a_champion_of_another_question_competes_no_more(con: duckdb.DuckDBPyConnection) -> None:
    asked, rows = classified.exposure(BINARY), classified.frame()
    publication = classified.publish(con, rows, asked)
    assert consumed(asked).champion_id is not None
    at = publications.publication(con, publication)
    assert at is not None
    assert champions.standing(con, asked, at).outdated is None
    other = classified.exposure(BINARY, positive=False)
    assert champions.standing(con, other, at).outdated == "gives the probability of True, and the spec asks for False"
    texts = replace(asked, columns={**asked.columns} | {BINARY: "VARCHAR"})
    found = champions.standing(con, texts, at).outdated
    assert found is not None and found.startswith("learned classes of another type than VARCHAR")
    numbers = replace(
        asked, columns={**asked.columns} | {BINARY: "DOUBLE"}, spec=asked.spec.model_copy(update={"task": None})
    )
    assert champions.standing(con, numbers, at).outdated == (
        "was made for classification, and the spec asks for regression"
    )
    classified.publish(con, classified.frame(seed=1), other, "next")
    done = consumed(other)
    assert done.outcome == "trained"  # and judged as a first model: the champion has another question
    assert done.reason.startswith("first model, better than the mean predictor")


def test_a_table_of_predictions_for_something_else_is_refused_before_anything_is_learned(
    con: duckdb.DuckDBPyConnection,
) -> None:
    asked = classified.exposure(BINARY)
    taken = replace(
        asked, spec=asked.spec.model_copy(update={"predictions": "predictions"})
    )  # of numbers, in this lake
    classified.publish(con, classified.frame(), asked)
    with pytest.raises(TableError, match=r"^Exposure class_1: ml\.predictions has predictions of type DOUBLE beside"):
        consumption.consume(taken, say=silent)
    texts = replace(taken, columns={**taken.columns} | {BINARY: "VARCHAR"})
    tables.check(con, asked)
    with pytest.raises(TableError, match="has predictions of type BOOLEAN beside row no, and what it"):
        tables.check(con, replace(asked, columns=texts.columns))


def test_the_checks_pass_and_drift_is_of_the_probability(con: duckdb.DuckDBPyConnection) -> None:
    asked, rows = classified.exposure(BINARY, metric="roc_auc"), classified.frame(600)
    classified.publish(con, rows, asked)
    done = consumed(asked)
    assert "held-out 1 - ROC AUC" in done.reason
    results = {result.check.name: result for result in checks.run(asked)}
    assert all(result.passed for result in results.values()), [result.found for result in results.values()]
    assert results["better_than_mean"].found.startswith("held-out 1 - ROC AUC of champion")
    assert results["better_than_mean"].found.endswith("the mean's 0.5")
    moved = rows.assign(**{SIZE: rows[SIZE] + 1.5})
    publication = classified.publish(con, moved, asked, "moved")
    consumed(asked)
    drifts = dict(
        con.execute("select column_name, ks from lake.ml.drift where publication_id = ?", [publication]).fetchall()
    )
    assert set(drifts) == {SIZE, WHERE, "prediction"}
    assert drifts["prediction"] > 0.3


def test_the_probability_is_of_the_class_that_is_called_positive(con: duckdb.DuckDBPyConnection) -> None:
    asked, rows = classified.exposure('the "level"', positive="hi"), classified.frame()
    classified.publish(con, rows, asked)
    consumed(asked)
    wrong = con.execute(
        f"select count(*) from lake.ml.{asked.spec.predictions} where probability <> probabilities['hi']"
    ).fetchone()
    assert wrong == (0,)


def test_what_is_found_by_a_search_is_better_by_the_spec_s_metric(con: duckdb.DuckDBPyConnection) -> None:
    space = {"space": {"C": {"low": 0.001, "high": 10.0, "log": True}}, "trials": 4}
    weak = {"name": "line", "estimator": f"{__name__}.line", "parameters": {"C": 1e-6}, "search": space}
    asked, rows = classified.exposure(BINARY, candidates=(weak,), metric="brier_score"), classified.frame()
    publication = classified.publish(con, rows, asked)
    first = consumed(asked)
    done = search.search(asked, say=silent)
    assert done.promoted_id is not None and done.promoted_id != first.version_id
    found = con.execute(
        "select distinct metric, min(loss) over (), max(loss) over () from lake.ml.trials where publication_id = ?",
        [publication],
    ).fetchall()
    ((metric, least, most),) = found
    assert metric == "brier_score"
    assert 0 < least < most <= 0.26
    assert "held-out Brier score" in done.reason


def line(C: float = 1.0) -> Any:
    return LogisticRegression(C=C)


def test_a_wide_binary_line_is_predicted_as_sql_and_as_the_estimator_does() -> None:
    rows = noisy(3000, classes=("no", "a'b"))
    rows["b"] = rows["b"] * 1e6 + 1e9
    asked = of_frame(rows[["id", "a", "b", "y"]])
    training = trained_on(rows[["id", "a", "b", "y"]], asked)
    estimator = made_of(rows[["id", "a", "b", "y"]], asked).fit().estimator
    for calibration in (Calibration(), Calibration(-0.4, 1.3)):
        served = calibration.around(estimator, training.features)
        for positive in training.classes:
            made = Classification(training.classes, positive, calibration, 0.8)
            version = Version("v", "logistic", ("a", "b"), {"classification": made.to_json()}, NOWHERE, NOWHERE)
            with duckdb.connect() as con:
                publication = published(con, rows)
                assert linear_sql.is_linear(served)
                with scoring.predicted(con, asked, publication, version, served, silent) as table:
                    found = con.execute(f"from {table}").df().set_index("id").loc[rows["id"]]
            p = served.predict_proba(rows[["a", "b"]])
            expected = made.columns(p)
            near = np.abs(p - 0.5).min(axis=1) > 1e-6
            assert (found["prediction"].to_numpy() == np.array(expected["prediction"].to_pylist()))[near].all()
            np.testing.assert_allclose(found["probability"], expected["probability"].to_numpy(), rtol=1e-8)
            sets = [list(one) for one in found["prediction_set"]]
            same = [ours == theirs for ours, theirs in zip(sets, expected["prediction_set"].to_pylist(), strict=True)]
            assert np.mean(same) > 0.999
            assert {len(one) for one in sets} == {1, 2}
            assert [list(one) for one in found["probabilities"]] == [["a'b", "no"]] * len(rows)
