"""LightGBM on all rows: the models are those that LightGBM makes of the same rows in memory."""

import io
from dataclasses import replace
from typing import Any

import duckdb
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest

from ml import consumption, exposures
from ml.exposures import Exposure
from ml.learning import candidates, fits, judging, training_set
from ml.learning.binned import Binned
from ml.learning.encoding import STEP
from ml.learning.training_set import TrainingSet
from ml.records import champions, versions
from ml.replay import replay
from ml.reports import explanation
from ml.spec import CandidateSpec
from tests.ml import classes, mixed, timed
from tests.ml.conftest import POINTS, Publish
from tests.ml.rows import frame, published, silent

REGRESSOR = CandidateSpec(name="trees", estimator="lightgbm.LGBMRegressor", parameters={"n_estimators": 20})
CLASSIFIER = CandidateSpec(name="trees", estimator="lightgbm.LGBMClassifier", parameters={"n_estimators": 20})
PARAMETERS: dict[str, Any] = {
    "n_estimators": 20,
    "random_state": 0,
    "n_jobs": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_col_wise": True,
}


def asked(exposure: Exposure, recipe: CandidateSpec = REGRESSOR, **spec: Any) -> Exposure:
    return replace(exposure, spec=exposure.spec.model_copy(update={"max_rows": "all", "candidates": (recipe,), **spec}))


def learned(
    rows: pd.DataFrame, exposure: Exposure, threads: int = 1, expected: bool = True
) -> tuple[TrainingSet, Binned, duckdb.DuckDBPyConnection]:
    """The exposure's first candidate on a frame."""
    con = duckdb.connect(config={"threads": threads})
    training = training_set.read(con, exposure, published(con, rows), silent)
    made = candidates.build(exposure.spec.candidates[0], con, training, silent, expected)
    assert isinstance(made, Binned)
    return training, made, con


def in_memory(training: TrainingSet, learned: Any = slice(None), features: pd.DataFrame | None = None) -> Any:
    """LightGBM's own of some rows, with bins of all of the sample, of whom ours learn."""
    features = training.features if features is None else features
    told = {name: value for name, value in PARAMETERS.items() if name != "n_estimators"}
    told |= {"objective": "regression", "feature_pre_filter": False}
    bins = lightgbm.Dataset(features, label=np.zeros(len(features)), params=told)
    weights = None if training.weights is None else training.weights[learned]
    part = lightgbm.Dataset(features[learned], training.target[learned], reference=bins, weight=weights, params=told)
    return lightgbm.train(told, part, num_boost_round=20)


@pytest.mark.parametrize("split", ["random", "group"])
def test_the_models_are_those_of_the_same_rows_in_memory(split: str) -> None:
    training, ours, con = learned(frame(2000), asked(POINTS, split=split))
    with con:
        predicted, fitted = ours.held_out(split), ours.fit()
    theirs = lightgbm.LGBMRegressor(**PARAMETERS).fit(training.features, training.target)
    assert isinstance(fitted.estimator, lightgbm.LGBMRegressor)
    assert fitted.parameters == {"rows": 2000}
    assert np.array_equal(fitted.estimator.predict(training.features), theirs.predict(training.features))
    for number in range(5):
        held = training.fold(split) == number
        expected = in_memory(training, ~held).predict(training.features[held])
        assert np.array_equal(predicted[held], expected)
    with duckdb.connect() as plain:  # bins of the fold's own rows are a little others
        made = candidates.FromRows("trees", plain, lightgbm.LGBMRegressor(**PARAMETERS), training, silent)
        errors = [np.sqrt(np.mean((one - training.target) ** 2)) for one in (predicted, made.held_out(split))]
    assert errors[0] == pytest.approx(errors[1], rel=0.03)


def test_the_fitted_estimator_is_an_ordinary_one() -> None:
    training, ours, con = learned(frame(500), asked(POINTS))
    with con:
        fitted = ours.fit().estimator
    assert (fitted.n_estimators, fitted.n_estimators_, fitted.n_features_in_) == (20, 20, 2)
    assert list(fitted.feature_names_in_) == fitted.booster_.feature_name() == ["a", "b"]
    assert fitted.feature_importances_.sum() > 0
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    again = joblib.load(file)
    assert np.array_equal(again.predict(training.features), fitted.predict(training.features))


def test_beyond_the_sample_every_row_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "LEAST_SAMPLE", 1000)
    monkeypatch.setattr(exposures, "MOST_SAMPLE", 1000)
    rows = frame(6000)
    exposure = asked(POINTS)
    training, ours, con = learned(rows, exposure)
    with con:
        fitted = ours.fit()
        judgement = judging.judge(ours, training, ["random"])
    assert len(training.sample) < 1500
    assert fitted.parameters == {"rows": 6000}
    assert judgement.values("random")["rows"] == len(training.sample)
    assert judgement.values("random")["sampled_from"] == 6000
    every = rows.sort_values("id")
    told = {name: value for name, value in PARAMETERS.items() if name != "n_estimators"} | {"feature_pre_filter": False}
    bins = lightgbm.Dataset(training.features, label=training.target, params=told)
    data = lightgbm.Dataset(every[["a", "b"]], every["y"], reference=bins, params=told)
    expected = lightgbm.train(told, data, num_boost_round=20)
    assert np.array_equal(fitted.estimator.predict(rows[["a", "b"]]), expected.predict(rows[["a", "b"]]))
    plain = lightgbm.LGBMRegressor(**PARAMETERS).fit(every[["a", "b"]], every["y"])
    new = frame(2000, seed=1)
    errors = [np.sqrt(np.mean((one.predict(new[["a", "b"]]) - new["y"]) ** 2)) for one in (fitted.estimator, plain)]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)


def test_neither_the_order_of_rows_nor_the_number_of_threads_matters() -> None:
    rows = frame(3000)
    first, second = [
        (ours.held_out("random"), ours.fit().estimator.predict(rows[["a", "b"]]))
        for _, ours, _ in (
            learned(rows, asked(POINTS)),
            learned(rows.sample(frac=1, random_state=0), asked(POINTS), threads=2, expected=False),
        )
    ]
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_null_booleans_dates_texts_and_codes_are_learned_from_as_lightgbm_would() -> None:
    rows, exposure = mixed.frame(3000), asked(mixed.exposure())
    with duckdb.connect() as con:
        publication = published(con, rows)
        con.execute(f"create or replace table published as {mixed.TABLE}")
        training = training_set.read(con, exposure, publication, silent)
        ours = candidates.build(REGRESSOR, con, training, silent, True)
        predicted, fitted = ours.held_out("random"), ours.fit().estimator
    assert list(fitted.named_steps) == [STEP, "trees"]
    frames = training.features
    by_hand = pd.DataFrame(
        {
            "size": frames[mixed.SIZE],
            "open": frames[mixed.OPEN].astype(float),
            "area": frames[mixed.AREA],
            "where": pd.Categorical(frames[mixed.WHERE], sorted(mixed.LEVELS)),
            "since": (frames[mixed.SINCE] - pd.Timestamp(0)) / pd.Timedelta(days=1),
            "code": pd.Categorical(frames[mixed.CODE], [1010.0, 8001.0, 50667.0, 99999.0]),
        }
    )
    theirs = lightgbm.LGBMRegressor(**PARAMETERS).fit(by_hand, training.target)
    assert fitted.predict(frames) == pytest.approx(theirs.predict(by_hand), rel=1e-12)
    assert np.sqrt(np.mean((predicted - training.target) ** 2)) < 0.5 * training.target.std()
    # a level that nobody has seen is as NULL
    strange, missing = (frames.head(5).assign(**{mixed.WHERE: value}) for value in ("Ort", None))
    assert np.array_equal(fitted.predict(strange), fitted.predict(missing))


@pytest.mark.parametrize("known", [(False, True), ("a", "b", "c"), (3, 5, 9, 11)])
def test_classes_are_learned_as_lightgbm_does_in_memory(known: tuple[Any, ...]) -> None:
    rows = classes.noisy(2000, classes=known)
    exposure = asked(classes.exposure(rows.drop(columns="cell"), max_rows="all", candidates=(CLASSIFIER,)), CLASSIFIER)
    training, ours, con = learned(rows, exposure)
    with con:
        judgement = judging.judge(ours, training)
        fitted = ours.fit().estimator
    theirs = lightgbm.LGBMClassifier(**PARAMETERS).fit(training.features, training.answers)
    assert fitted.classes_.tolist() == list(known)
    assert np.array_equal(fitted.predict_proba(training.features), theirs.predict_proba(training.features))
    assert np.array_equal(fitted.predict(training.features), theirs.predict(training.features))
    values, mean = judgement.values("random"), judgement.values("random", "mean")
    assert values["log_loss"] < mean["log_loss"]
    assert values["sampled_from"] == values["rows"] == 2000


def test_a_fold_that_leaves_one_class_says_that_class() -> None:
    rows = classes.noisy(300).assign(cell=lambda made: np.where(made["y"], "c0", made["cell"] + "n"))
    exposure = asked(classes.exposure(rows, group="cell", split="group", candidates=(CLASSIFIER,)), CLASSIFIER)
    training, ours, con = learned(rows, exposure)
    with con:
        predicted = ours.held_out("group")
    of_true = training.fold("group")[training.codes == 1][0]
    held = training.fold("group") == of_true
    assert np.array_equal(predicted[held], np.tile([1.0, 0.0], (held.sum(), 1)))
    assert (training.codes[~held] == 0).all()


def test_rows_count_by_their_weight() -> None:
    rows = frame(2000).assign(cell=lambda made: np.where(made["a"] > 5, 10.0, 1.0))
    exposure = asked(replace(POINTS, columns={**POINTS.columns, "cell": "DOUBLE"}), group=None, weight="cell")
    training, ours, con = learned(rows, exposure)
    with con:
        fitted = ours.fit().estimator
    theirs = lightgbm.LGBMRegressor(**PARAMETERS).fit(training.features, training.target, training.weights)
    assert np.array_equal(fitted.predict(training.features), theirs.predict(training.features))


@pytest.mark.parametrize("window", ["expanding", "rolling"])
def test_a_period_is_judged_by_what_came_before(window: str) -> None:
    exposure = asked(timed.exposure(backtest={"folds": 3, "gap": "2 days", "window": window}))
    training, ours, con = learned(timed.frame(1200), exposure)
    with con:
        predicted, fitted = ours.held_out("time"), ours.fit()
    for number in (1, 2, 3):
        held = training.fold("time") == number
        expected = in_memory(training, training.learned("time", number)).predict(training.features[held])
        assert np.array_equal(predicted[held], expected)
    assert np.isnan(predicted[training.fold("time") == 0]).all()
    assert fitted.parameters == {"rows": len(training.served_sample)}
    assert (len(training.served_sample) < 1200) == (window == "rolling")


def test_other_learners_say_that_they_saw_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "LEAST_SAMPLE", 1000)
    monkeypatch.setattr(exposures, "MOST_SAMPLE", 1000)
    exposure = asked(POINTS, CandidateSpec(name="gradient_boosting"), group=None)
    with duckdb.connect() as con:
        training = training_set.read(con, exposure, published(con, frame(3000)), silent)
        fitted = candidates.build(exposure.spec.candidates[0], con, training, silent).fit()
        theirs = candidates.build(CandidateSpec(name="ridge"), con, training, silent).fit()
    assert fitted.notes == (
        f"gradient_boosting learned from a sample of {len(training.sample):,} of 3,000 rows, as it holds what it "
        "learns from: of lightgbm.LGBMRegressor and lightgbm.LGBMClassifier, meta.ml.max_rows: all is true",
    )
    assert theirs.notes == ()


def test_parameters_of_a_person_stay() -> None:
    recipe = REGRESSOR.model_copy(update={"parameters": {"n_estimators": 5, "force_row_wise": True, "verbose": 0}})
    _, ours, con = learned(frame(500), asked(POINTS, recipe))
    with con:
        fitted = ours.fit().estimator
    said = fitted.get_params()
    assert (said["force_row_wise"], said["verbose"], said["deterministic"]) == (True, 0, True)
    assert "force_col_wise" not in said
    assert fitted.booster_.num_trees() == 5


def test_a_parameter_that_lightgbm_refuses_is_said_with_the_candidate() -> None:
    recipe = REGRESSOR.model_copy(update={"parameters": {"num_leaves": 1}})
    _, ours, con = learned(frame(500), asked(POINTS, recipe))
    with (
        con,
        pytest.raises(fits.EstimatorError, match=r"^candidate trees: it cannot be fitted: LightGBMError: .*"),
    ):
        ours.held_out("random")


def test_a_publication_is_learned_predicted_replayed_and_explained(
    con: duckdb.DuckDBPyConnection, publish: Publish
) -> None:
    publication = publish(rows=2000)
    exposure = asked(POINTS)
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    assert (made.outcome, made.predicted_rows) == ("trained", 2000)
    assert made.metrics["rmse"] < 0.5 * made.baseline["rmse"]
    assert made.metrics["sampled_from"] == 2000
    assert replay(exposure, publication, say=silent).largest_difference == 0
    champion = champions.champion(con, "points")
    assert champion is not None
    fitted = versions.load(con, "points", champion)
    predicted = con.execute(
        "select a, b, prediction from lake.ml.predictions join lake.features.points using (id)"
    ).df()
    assert np.array_equal(fitted.predict(predicted[["a", "b"]]), predicted["prediction"])
    found = explanation.explain(con, exposure, champion, silent)
    assert dict(zip(found.importance["feature"], found.importance["importance_mean"] > 1, strict=True)) == {
        "a": True,
        "b": True,
    }
