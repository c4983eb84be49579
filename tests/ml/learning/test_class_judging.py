"""Held-out classes: as good as scikit-learn's own, covered as asked, without leaks; classes that are rare or hidden."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.exposures import Exposure
from ml.learning import candidates, fits, judging, notes, training_set
from ml.learning.calibration import Calibration
from ml.learning.fits import EstimatorError
from ml.learning.judgement import ClassJudgement
from ml.learning.published import RowsError
from ml.spec import MEAN, BacktestSpec, CandidateSpec
from tests.ml.classes import LINE, exposure, noisy
from tests.ml.rows import published, silent, trained_on


def made_of(rows: pd.DataFrame, asked: Exposure, recipe: str | CandidateSpec = "logistic") -> Any:
    """A candidate on the published rows, with its training set."""
    con = duckdb.connect(config={"threads": 1})
    training = training_set.read(con, asked, published(con, rows), silent)
    return candidates.build(CandidateSpec.model_validate(recipe), con, training, silent)


def judged(rows: pd.DataFrame, asked: Exposure, recipe: str | CandidateSpec = "logistic") -> ClassJudgement:
    candidate = made_of(rows, asked, recipe)
    made = judging.judge(candidate, candidate.training)
    assert isinstance(made, ClassJudgement)
    return made


def calibration_of(made: ClassJudgement) -> Calibration:
    assert made.classification is not None
    return made.classification.calibration


@pytest.mark.parametrize(
    ("load", "names"), [(load_breast_cancer, ["malignant", "benign"]), (load_wine, ["a'b", "null", ""])]
)
def test_the_best_candidate_is_as_good_as_scikit_learn_s_regression_on_the_same_folds(load: Any, names: Any) -> None:
    table = load(as_frame=True).frame
    rows = table.drop(columns="target").assign(
        id=[f"k{i}" for i in range(len(table))], y=pd.Series([names[i] for i in table["target"]], dtype=object)
    )
    training = trained_on(rows, exposure(rows))
    made = [judged(rows, exposure(rows), name) for name in ("logistic", "gradient_boosting")]
    ours = min(judgement.value("random", "log_loss") for judgement in made)
    fold, line = (
        training.fold("random"),
        make_pipeline(
            StandardScaler(),
            LogisticRegression(tol=1e-12, solver="newton-cholesky")
            if len(names) == 2
            else LogisticRegression(max_iter=1000),
        ),
    )
    theirs = np.empty((len(fold), len(names)))
    for number in training.folds("random"):
        fitted = clone(line).fit(training.features[fold != number], training.answers[fold != number])
        theirs[fold == number] = fitted.predict_proba(training.features[fold == number])
    assert ours <= log_loss(training.answers, theirs, labels=sorted(names)) * (1 + 1e-6)  # which ours equals to 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("split", ["random", "time"])
def test_sets_of_a_noisy_table_cover_as_asked_over_seeds(split: str) -> None:
    covered, sizes = [], []
    for seed in range(20):
        rows = noisy(600, seed, ("a", "b", "c"))
        rows["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(600), unit="h")
        asked: dict[str, Any] = {"split": split} | ({"time": "at"} if split == "time" else {})
        of = exposure(rows.drop(columns="at"), **asked)
        of = type(of)(**{**vars(of), "columns": {**of.columns, "at": "TIMESTAMP"}})
        made = judged(rows, of)
        covered.append(made.value(split, "coverage"))
        sizes.append(made.value(split, "mean_set_size"))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)
    assert 1.5 < np.mean(sizes) < 3


def test_the_metrics_and_the_held_out_rows_tell_the_same() -> None:
    rows = noisy(300, classes=("no", "yes"))
    made = judged(rows, exposure(rows, group="cell", slices={"side": "a > 0"}, positive="no"))
    held = made.heldout.to_pandas()
    assert sorted(held.columns) == sorted(
        ["candidate", "split", "fold", "id", "actual", "predicted", "probabilities", "prediction_set"]
    )
    for split in ("random", "group"):
        some = held[held["split"] == split].set_index("id").loc[sorted(rows["id"])]
        truth = rows.set_index("id").loc[sorted(rows["id"])]
        assert some["actual"].tolist() == truth["y"].tolist()
        p = np.array([dict(one)["yes"] for one in some["probabilities"]])
        values = made.values(split)
        assert values["rows"] == 300
        assert values["log_loss"] == pytest.approx(log_loss(truth["y"] == "yes", p))
        assert values["accuracy"] == pytest.approx(np.mean(some["predicted"] == truth["y"]))
        inside = [one in its for one, its in zip(some["actual"], some["prediction_set"], strict=True)]
        assert values["coverage"] == pytest.approx(np.mean(inside))
        assert values["mean_set_size"] == pytest.approx(np.mean([len(its) for its in some["prediction_set"]]))
        right = (truth["a"] > 0).to_numpy()
        assert made.values(split, of="side: true")["rows"] == right.sum()
    assert made.classification is not None and made.classification.positive == "no"
    assert made.losses("group", "log_loss").mean() == pytest.approx(made.value("group", "log_loss"))


def test_the_mean_predictor_is_the_share_of_each_class_and_ranks_nothing() -> None:
    rows = noisy(500)
    training = trained_on(rows, exposure(rows))
    made, fold, codes = judged(rows, exposure(rows)), training.fold("random"), training.codes
    expected = np.empty(500)
    for number in training.folds("random"):
        share = codes[fold != number].mean()
        expected[fold == number] = np.where(codes[fold == number] == 1, -np.log(share), -np.log(1 - share))
    mean = made.values("random", MEAN)
    assert mean["log_loss"] == pytest.approx(expected.mean())
    assert mean["roc_auc"] == 0.5
    assert mean["average_precision"] == pytest.approx(codes.mean())


@pytest.mark.parametrize("recipe", ["logistic", "gradient_boosting"])
@pytest.mark.parametrize("split", ["random", "group"])
def test_no_held_out_probability_knows_the_classes_of_its_fold(recipe: str, split: str) -> None:
    # nor do calibration and sets, see their tests
    rows = noisy(240)
    asked = exposure(rows, group="cell", split=split)
    training = trained_on(rows, asked)
    expected, fold = made_of(rows, asked, recipe).held_out(split), training.fold(split)
    for number in training.folds(split)[:2]:
        keys = training.sample["id"][fold == number]
        other = rows.assign(y=np.where(rows["id"].isin(keys), ~rows["y"], rows["y"]))
        found, held = made_of(other, asked, recipe).held_out(split), fold == number
        np.testing.assert_allclose(found[held], expected[held], rtol=1e-9)
        assert not np.allclose(found[~held], expected[~held])


def test_levels_of_many_are_encoded_by_the_classes_of_other_folds_alone() -> None:
    # levels that say nothing: encoded by their own rows they would tell the class
    random = np.random.default_rng(0)
    rows = noisy(600, classes=("x", "y", "z"), noise=100.0)
    rows["s"] = pd.Series([f"s{i}" for i in random.integers(0, 300, 600)], dtype=object)
    made = judged(rows[["id", "s", "y"]], exposure(rows[["id", "s", "y"]]))
    assert made.value("random", "roc_auc") < 0.55
    assert made.value("random", "log_loss") > made.value("random", "log_loss", MEAN) - 0.02


@pytest.mark.parametrize("recipe", ["logistic", "gradient_boosting", LINE])
def test_a_class_of_one_group_or_of_one_row_is_learned_and_said(recipe: str | CandidateSpec) -> None:
    rows = noisy(240, classes=("no", "yes"))
    rows.loc[rows["cell"] == "c3", "y"] = "only here"
    rows.loc[5, "y"] = "once"
    training = trained_on(rows, exposure(rows, group="cell", split="group"))
    assert training.classes == ("no", "once", "only here", "yes")
    made = judged(rows, exposure(rows, group="cell", split="group"), recipe)
    p, codes = made.held["group"].probabilities, made.held["group"].codes
    assert p.shape == (240, 4)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.isfinite(made.value("group", "log_loss"))
    assert (p[codes == 2].max(axis=1) < 1).all()
    # what no fit could know turns no probability of what it knew around
    assert calibration_of(made).stretch > 0.3
    (note,) = (said for said in notes.of_rows(training) if "fewer rows than there are folds" in said)
    assert "(meta.ml.folds: 5): 'once' (1); a fit that has seen none of a class cannot predict it" in note


@pytest.mark.parametrize("recipe", ["logistic", "gradient_boosting"])
def test_of_two_classes_one_may_stand_in_one_group_alone(recipe: str) -> None:
    rows = noisy(240).assign(y=lambda rows: (rows["cell"] == "c3") & (rows["a"] > 0))
    made = judged(rows, exposure(rows, group="cell", split="group"), recipe)
    held = made.held["group"]
    assert np.isfinite(made.value("group", "log_loss"))
    alone = np.unique(held.fold[held.codes == 1])
    assert len(alone) == 1
    assert (held.probabilities[held.fold == alone[0], 1] < 1e-9).all()  # its fit has seen the other class alone


def test_boosting_of_many_rows_learns_with_a_class_of_one_row() -> None:
    rows = noisy(11_000, classes=("a", "b"))
    rows.loc[3, "y"] = "once"  # a stratified sample to stop early by cannot be drawn
    recipe = HistGradientBoostingClassifier(max_iter=2)
    fitted = fits.fit(recipe, rows[["a", "b"]], rows["y"])
    assert fitted.classes_.tolist() == ["a", "b", "once"]
    assert (fitted.do_early_stopping_, recipe.early_stopping) == (False, "auto")
    twice = rows.assign(y=rows["y"].where(rows.index != 4, "once"))
    assert fits.fit(recipe, twice[["a", "b"]], twice["y"]).do_early_stopping_


def test_an_unbalanced_class_keeps_its_share() -> None:
    rows = noisy(4000, seed=3).assign(y=lambda rows: rows["a"] + np.random.default_rng(0).logistic(size=4000) > 4.5)
    balanced = CandidateSpec(
        name="line", estimator="sklearn.linear_model.LogisticRegression", parameters={"class_weight": "balanced"}
    )
    training = trained_on(rows, exposure(rows))
    made = judged(rows, exposure(rows), balanced)
    share = training.codes.mean()
    assert share < 0.05
    assert made.held["random"].probabilities[:, 1].mean() == pytest.approx(share, rel=0.1)  # raw it is near a third
    assert calibration_of(made).shift < -2
    assert made.value("random", "log_loss") < made.value("random", "log_loss", MEAN)


def test_by_time_the_first_period_is_not_calibrated_and_has_no_sets() -> None:
    rows = noisy(600, classes=("a", "b", "c"))
    asked = exposure(rows, split="time", time="at", backtest=BacktestSpec(folds=3))
    rows["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(600), unit="h")
    asked = type(asked)(**{**vars(asked), "columns": {**asked.columns, "at": "TIMESTAMP"}})
    training = trained_on(rows, asked)
    made = judged(rows, asked)
    held = made.held["time"]
    assert sorted(np.unique(held.fold)) == [1, 2, 3]
    assert held.known.tolist() == (held.fold > 1).tolist()
    raw = made_of(rows, asked, "logistic").held_out("time")[training.judged("time")]
    np.testing.assert_array_equal(held.probabilities[held.fold == 1], raw[held.fold == 1])
    assert all((row["prediction_set"] is None) == (row["fold"] == 1) for row in made.heldout.to_pylist())
    periods = [name for name in set(made.metrics["slice"]) if name.startswith("period: ")]
    assert sorted("coverage" in made.values("time", of=name) for name in periods) == [False, True, True]


def test_a_metric_that_the_held_out_rows_cannot_have_is_named() -> None:
    rows = noisy(200).assign(y=lambda rows: rows["id"].isin([f"k{i}" for i in range(10)]))
    asked = exposure(rows, split="time", time="at", metric="roc_auc", backtest=BacktestSpec(folds=2))
    rows["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(200), unit="h")
    asked = type(asked)(**{**vars(asked), "columns": {**asked.columns, "at": "TIMESTAMP"}})
    with pytest.raises(RowsError, match=r"held out \(time\) are of one class, of which there is no roc_auc"):
        judged(rows, asked)


@pytest.mark.parametrize(
    ("y", "spec", "sentence"),
    [
        ([True] * 60, {}, "y, the target, is the same class in all of 60 rows: there is nothing to tell apart"),
        (list(range(120)), {}, "y, the target, has 120 classes in 120 rows, and at most 100 are learned: put the"),
        ([1, 2, 3] * 20, {"positive": 1}, "meta.ml.positive is 1, and there are 3 classes: it is for two, leave it"),
        (["a", "b"] * 30, {"positive": "c"}, "meta.ml.positive is 'c', which is no class: they are 'a' and 'b'"),
        (["a\0", "b"] * 30, {}, "a class of y holds the character NUL, which SQL cannot write"),
    ],
)
def test_rows_whose_classes_cannot_be_learned_are_named(y: list[Any], spec: dict[str, Any], sentence: str) -> None:
    rows = noisy(len(y))
    rows["y"] = pd.Series(y, dtype=object if isinstance(y[0], str) else None)
    with pytest.raises(RowsError, match=f"^points@1, read by exposure classes: {sentence}"):
        trained_on(rows, exposure(rows, **spec))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ((False, True), [False, True]),
        (("a'b", "null", "", "true"), ["", "a'b", "null", "true"]),
        ((-5, 3, 9_007_199_254_740_993), [-5, 3, 9_007_199_254_740_993]),
    ],
)
def test_learners_see_the_classes_themselves(classes: tuple[Any, ...], expected: list[Any]) -> None:
    rows = noisy(300, classes=classes)
    training = trained_on(rows, exposure(rows))
    assert list(training.classes) == expected
    assert training.answers.tolist() == rows.set_index("id").loc[training.sample["id"], "y"].tolist()
    for name in ("logistic", "gradient_boosting"):
        assert made_of(rows, exposure(rows), name).fit().estimator.classes_.tolist() == expected


@pytest.mark.parametrize(
    ("estimator", "sentence"),
    [
        ("sklearn.linear_model.Ridge", "makes a Ridge, which is no classifier. Name a class or function that gives an"),
        ("sklearn.svm.LinearSVC", "makes a LinearSVC, which gives no probabilities. Name a class or function that giv"),
    ],
)
def test_what_cannot_tell_classes_apart_is_a_clear_error(estimator: str, sentence: str) -> None:
    rows = noisy(60)
    recipe = CandidateSpec(name="mine", estimator=estimator)
    with pytest.raises(EstimatorError, match=f"^candidate mine: estimator {estimator} {sentence}"):
        judged(rows, exposure(rows), recipe)


class Strange(LogisticRegression):  # type: ignore[misc]
    """A classifier that says something else."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how

    def predict_proba(self, rows: Any) -> Any:
        p = super().predict_proba(rows)
        return {"nan": p * np.nan, "sum": p * 2, "negative": p - 1.0, "shape": p[:, 0], "fails": None}[self.how]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("nan", r"its probabilities are none, or do not add up to 1, in \d+ of \d+ rows\."),
        ("sum", r"its probabilities are none, or do not add up to 1, in \d+ of \d+ rows\."),
        ("negative", r"its probabilities are none, or do not add up to 1, in \d+ of \d+ rows\."),
        ("shape", r"its predict_proba has the shape \(\d+,\) for \d+ rows and 2 classes\."),
    ],
)
def test_a_classifier_that_gives_no_probabilities_says_whose_fault_it_is(how: str, sentence: str) -> None:
    rows = noisy(60)
    recipe = CandidateSpec(name="mine", estimator=f"{__name__}.Strange", parameters={"how": how})
    with pytest.raises(EstimatorError, match=f"^candidate mine: {sentence}$"):
        judged(rows, exposure(rows), recipe)


def test_the_identity_is_kept_where_nothing_is_wrong() -> None:
    rows = noisy(2000)
    assert calibration_of(judged(rows, exposure(rows))) == Calibration()
