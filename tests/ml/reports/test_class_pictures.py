"""Pictures of classes: what is drawn is what the rows say."""

from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_auc_score

from ml.learning.measures import BINS
from ml.reports import class_pictures, drawing, pictures
from ml.reports.drawing import Picture
from tests.ml.reports.test_pictures import texts

NAMES = ("", "_hidden", "it's <b>", "a name that is longer than any axis")


def heldout(classes: tuple[str, ...], rows: int = 600, seed: int = 0) -> pd.DataFrame:
    """Rows whose probabilities come true as often as they say."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(len(classes), 0.7), rows)
    drawn = np.array([random.choice(len(classes), p=p) for p in probabilities])
    return pd.DataFrame(
        {
            "actual": [classes[i] for i in drawn],
            "predicted": [classes[i] for i in probabilities.argmax(axis=1)],
            "probabilities": [dict(zip(classes, p, strict=True)) for p in probabilities],
        }
    )


def curves(classes: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"feature": "a", "grid_point": i, "feature_value": float(i), "mean_prediction": 1 / (2 + n), "class": one}
            for i in range(3)
            for n, one in enumerate(classes)
        ]
    )


MANY = tuple(f"class {i:02d}" for i in range(30))
DRAWN: dict[str, Callable[[], Picture]] = {
    "roc": lambda: class_pictures.roc(heldout(("no", "yes")), ("no", "yes"), "yes"),
    "roc of several": lambda: class_pictures.roc(heldout(NAMES), NAMES, None),
    "roc of many": lambda: class_pictures.roc(heldout(MANY), MANY, None),
    "reliability": lambda: class_pictures.reliability(heldout(("no", "yes")), ("no", "yes"), "no"),
    "reliability of several": lambda: class_pictures.reliability(heldout(NAMES), NAMES, None),
    "confusion": lambda: class_pictures.confusion(heldout(NAMES), NAMES),
    "confusion of many": lambda: class_pictures.confusion(heldout(MANY), MANY),
    "partial_dependence": lambda: pictures.partial_dependence(curves(("yes",)), "is it?"),
    "partial_dependence of several": lambda: pictures.partial_dependence(curves(NAMES), "kind"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_titled_as_wide_as_it_says_and_the_same_each_time(name: str) -> None:
    picture = DRAWN[name]()
    assert picture.name == name.partition(" ")[0]
    root = ElementTree.fromstring(picture.svg)
    assert root.get("width") == "504pt"
    assert 100 < float(root.get("height", "").removesuffix("pt")) < 700
    assert picture.title in texts(picture)
    assert DRAWN[name]() == picture


def test_a_class_is_seen_whatever_it_is_called() -> None:
    for name in ("roc of several", "confusion", "partial_dependence of several"):
        said = " ".join(texts(DRAWN[name]()))
        for told in ("“”", "“_hidden”", "it's <b>", "a name that is longer t…"):
            assert told in said
    assert drawing.class_name("  ") == "“  ”"


def test_areas_are_scikit_learns() -> None:
    rows = heldout(NAMES)
    said = texts(DRAWN["roc of several"]())
    scores = class_pictures.probabilities(rows, NAMES)
    for place, name in enumerate(NAMES):
        area = roc_auc_score(rows["actual"] == name, scores[:, place])
        assert f"{drawing.class_name(name)}, area {area:.3f}" in said


def test_the_curve_has_the_same_area_at_few_points() -> None:
    random = np.random.default_rng(1)
    inside = random.uniform(size=20_000) < 0.3
    score = (inside + random.normal(size=20_000)).round(2)
    false, true = class_pictures._curve(inside, score)
    assert len(false) <= class_pictures.MOST_POINTS
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(inside, score), abs=2e-4)


def test_bins_are_scikit_learns_and_their_bars_hold_what_is_true() -> None:
    random = np.random.default_rng(2)
    said = random.uniform(size=6_000)
    true = random.uniform(size=6_000) < said
    mean, share, low, high = class_pictures._bins(said, true)
    theirs = calibration_curve(true, said, n_bins=BINS, strategy="quantile")
    np.testing.assert_allclose(share, theirs[0], atol=0.01)
    np.testing.assert_allclose(mean, theirs[1], atol=0.01)
    assert ((low <= share) & (share <= high)).all()
    assert np.mean((low <= mean) & (mean <= high)) >= 0.8
    # of a single row, whatever is true, something is said
    assert [float(end[0]) for end in class_pictures._bins(np.array([0.7]), np.array([True]))[1:]] == pytest.approx(
        [1.0, 0.27, 1.0], abs=0.01
    )


def test_counts_are_those_of_the_rows() -> None:
    rows = heldout(NAMES)
    theirs = confusion_matrix(rows["actual"], rows["predicted"], labels=list(NAMES))
    counts = class_pictures._counts(rows["actual"], rows["predicted"], NAMES)
    assert (counts[:-1, :-1] == theirs).all()
    assert counts[-1].sum() == counts[:, -1].sum() == 0
    of_two = class_pictures._counts(rows["actual"], rows["predicted"], NAMES[:2])
    assert of_two[2, 2] == theirs[2:, 2:].sum()
    assert of_two.sum() == len(rows)
    said = texts(DRAWN["confusion of many"]())
    assert "all others" in said


def test_rows_of_one_class_can_be_drawn() -> None:
    rows = heldout(("no", "yes")).assign(actual="yes", predicted="yes")
    for picture in (
        class_pictures.roc(rows, ("no", "yes"), "yes"),
        class_pictures.reliability(rows, ("no", "yes"), "yes"),
        class_pictures.confusion(rows, ("no", "yes")),
    ):
        assert picture.svg


@pytest.mark.parametrize(
    ("metric", "said"), [("log_loss", "Log loss"), ("accuracy", "Accuracy"), ("roc_auc", "ROC AUC"), ("mae", "MAE, m")]
)
def test_the_metric_of_the_gate_is_the_one_that_is_drawn(metric: str, said: str) -> None:
    metrics = pd.DataFrame(
        [
            {"candidate": candidate, "split": "random", "slice": name, "metric": one, "value": value}
            for candidate in ("ours", "mean")
            for name in ("all", "size: small")
            for one, value in ((metric, 0.4), ("coverage", 0.88))
        ]
    )
    assert said in texts(pictures.error_by_slice(metrics, "ours", "random", "m", metric))
    importances = pd.DataFrame({"feature": ["a"], "importance_mean": [0.1], "importance_sd": [0.0]})
    change = "fall" if metric in ("accuracy", "roc_auc") else "growth"
    label = f"{change} of the held-out {said.partition(',')[0]}".lower()
    assert any(text.lower().startswith(label) for text in texts(pictures.importance(importances, "m", metric)))
