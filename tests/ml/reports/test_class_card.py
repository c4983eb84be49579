"""The card, the explanation and the report of versions that predict classes."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml import consumption
from ml.learning import calibration
from ml.learning.calibration import Calibration
from ml.learning.classification import Classification
from ml.numbers import figure
from ml.records import overview
from ml.reports import card, explanation, report
from ml.reports import facts as version_facts
from tests.ml import classified
from tests.ml.reports.test_card import text
from tests.ml.rows import silent

PICTURES = ["roc", "reliability", "confusion", "error_by_slice", "coverage", "importance", "partial_dependence"]


@pytest.mark.parametrize(
    ("target", "asked", "classes"),
    [
        ("is open?", {"candidates": ("logistic",)}, "false , true ; probability is that of true"),
        (
            "order",
            {"candidates": ("gradient_boosting", "logistic"), "metric": "roc_auc", "split": "group"},
            "“” , a'b , null ; probability is that of the predicted class",
        ),
    ],
)
def test_a_card_of_classes_says_what_it_is_and_how_good(
    con: duckdb.DuckDBPyConnection, target: str, asked: dict[str, object], classes: str
) -> None:
    exposure = classified.exposure(target, **asked)
    publication = classified.publish(con, classified.frame(1000), exposure)
    done = consumption.consume(exposure, say=silent)
    assert done is not None
    said: list[str] = []
    (made,) = card.explain(exposure, say=said.append)
    assert [picture.name for picture in made.pictures] == PICTURES
    page = text(card.saved(con, exposure.name).decode())
    assert classes in page.replace("&#39;", "'")
    assert f"{done.metrics['log_loss']:.4f}" in page
    assert f"{done.metrics['roc_auc']:.3f}" in page
    assert f"{done.metrics['coverage']:.1%}" in page
    assert "an interval" not in page
    assert "Sets of classes" in page
    takes = "takes" if "metric" in asked else "adds"
    assert any(f"shuffled, it {takes} " in sentence for sentence in said)

    facts = version_facts.read(con, exposure, str(done.version_id))
    assert facts.importance["importance_mean"].max() > 0.01
    assert set(facts.dependence["class"]) == ({"true"} if target == "is open?" else {"", "a'b", "null"})
    sums = facts.dependence.groupby(["feature", "grid_point"])["mean_prediction"].sum()
    if target == "order":
        np.testing.assert_allclose(sums, 1)
    # nothing is done twice
    assert [again.written for again in card.explain(exposure, say=silent)] == [False]

    (serving,) = overview.serving(con)
    assert (serving.metric, serving.split) == (exposure.metric, exposure.spec.split)
    assert serving.value == pytest.approx(done.metrics[exposure.metric])
    assert serving.coverage == pytest.approx(done.metrics["coverage"])
    page = text(report.to_html(con, [exposure], {}, facts.version["trained_at"]))
    named = {"log_loss": "log loss", "roc_auc": "ROC AUC"}[exposure.metric]
    assert f"Held out {named} {figure(serving.value)} ({exposure.spec.split} folds)" in page
    assert f"{serving.coverage:.1%} of held-out classes are inside; 90% are asked for" in page
    assert publication in page


def test_importance_of_classes_is_by_the_metric_and_dependence_by_class() -> None:
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(900, 2)), columns=["a", "b"])
    answers = pd.Series(np.where(features["a"] + 0.3 * random.normal(size=900) > 0, "yes", "no"))
    held = np.arange(900) % 3 == 0
    recipe = make_pipeline(StandardScaler(), LogisticRegression())
    for metric in ("log_loss", "brier_score", "accuracy", "roc_auc", "average_precision"):
        made = Classification(("no", "yes"), "no", Calibration(), 0.5)
        by = explanation.scoring(metric, made)
        found = explanation.importance(recipe, features, answers, held, 0, by=by)
        ours = dict(zip(found["feature"], found["importance_mean"], strict=True))
        assert ours["a"] > 0.1
        assert abs(ours["b"]) < 0.02
    fitted = recipe.fit(features, answers)
    curve = explanation.dependence(fitted, features, 0, made=made)
    assert set(curve["class"]) == {"no"}
    means = curve[curve["feature"] == "a"]["mean_prediction"]
    assert means.iloc[0] > 0.99
    assert means.iloc[-1] < 0.01
    first = features.assign(a=curve["feature_value"].iloc[0]).iloc[
        explanation._drawn(np.arange(900), explanation.DEPENDENCE_ROWS, 0)
    ]
    assert means.iloc[0] == pytest.approx(fitted.predict_proba(first)[:, 0].mean())


def test_a_calibrated_classifier_is_explained_as_it_serves_and_refitted_as_it_was_learned() -> None:
    random = np.random.default_rng(1)
    features = pd.DataFrame(random.normal(size=(600, 2)), columns=["a", "b"])
    for classes in (("no", "yes"), ("a", "b", "c")):
        answers = pd.Series(np.array(classes)[np.digitize(features["a"], [-0.5, 0.5][: len(classes) - 1])])
        inside = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, answers)
        learned = Calibration(0.4 if len(classes) == 2 else 0.0, 0.6)
        served = learned.around(inside, features)
        assert calibration.inside(served) is inside
        assert calibration.inside(inside) is inside
        made = Classification(classes, classes[1] if len(classes) == 2 else None, learned, 0.5)
        curve = explanation.dependence(served, features, 0, made=made)
        drawn = features.iloc[explanation._drawn(np.arange(600), explanation.DEPENDENCE_ROWS, 0)]
        first = learned.of(inside.predict_proba(drawn.assign(a=curve["feature_value"].iloc[0]))).mean(axis=0)
        found = curve[(curve["feature"] == "a") & (curve["grid_point"] == 0)].set_index("class")["mean_prediction"]
        for place, one in enumerate(classes):
            assert found.get(one, first[place]) == pytest.approx(first[place], rel=1e-9)
        score = explanation.scoring("log_loss", made)(inside, features, answers)
        places = np.array([classes.index(one) for one in answers])
        probabilities = served.predict_proba(features)
        assert -score == pytest.approx(float(-np.log(probabilities[np.arange(600), places]).mean()), rel=1e-9)


def test_a_fold_of_one_class_is_not_the_one_that_ranks_are_measured_on() -> None:
    fold, codes = pd.Series([0, 0, 1, 1, 2, 2]), pd.Series([1, 1, 0, 1, 0, 1])
    assert explanation._fold(fold, codes, range(3)) == 1
    assert explanation._fold(fold, codes, [2, 1, 0]) == 2
    assert explanation._fold(fold, pd.Series([1] * 6), range(3)) == 0
