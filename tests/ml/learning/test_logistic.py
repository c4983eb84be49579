"""The candidate `logistic` of two classes, held out by fold, by group and by time, is scikit-learn's on those rows."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.exposures import Exposure
from ml.learning import candidates, judging, training_set
from ml.learning.candidates import Logistic
from ml.learning.fits import EstimatorError
from ml.learning.training_set import TrainingSet
from ml.spec import CandidateSpec, Spec
from tests.ml import mixed, timed
from tests.ml.conftest import POINTS
from tests.ml.rows import frame, published, silent


def exposure(kind: str = "VARCHAR", **spec: Any) -> Exposure:
    """Points whose y is high or low."""
    asked = Spec(**{"key": "id", "target": "y", "group": "cell", "candidates": ("logistic",), **spec})
    return replace(POINTS, columns={**POINTS.columns, "y": kind}, spec=asked)


def halves(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with classes in the place of numbers."""
    return rows.assign(y=np.where(rows["y"] > rows["y"].median(), "it's high", "low"))


def made(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame, asked: Exposure) -> tuple[TrainingSet, Logistic]:
    training = training_set.read(con, asked, published(con, rows), silent)
    candidate = candidates.build(CandidateSpec(name="logistic"), con, training, silent)
    assert isinstance(candidate, Logistic)
    return training, candidate


def reference() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, solver="newton-cholesky"))


def assert_same_as_on_rows(training: TrainingSet, candidate: Logistic, estimator: Any) -> None:
    for split in training.moments:
        held_out, fold = candidate.held_out(split), training.fold(split)
        for number in training.folds(split):
            learned, held = training.learned(split, number), fold == number
            theirs = clone(estimator).fit(training.features[learned], training.answers[learned])
            expected = theirs.predict_proba(training.features[held])
            np.testing.assert_allclose(held_out[held], expected, rtol=1e-6, atol=1e-8)
    served = training.served_sample
    theirs = clone(estimator).fit(served[list(training.exposure.features)], training.answers.loc[served.index])
    ours = candidate.fit()
    np.testing.assert_allclose(
        ours.estimator.predict_proba(training.features), theirs.predict_proba(training.features), rtol=1e-6, atol=1e-8
    )
    assert list(ours.estimator.classes_) == list(training.classes)
    assert ours.parameters["C"] == 1.0
    assert 3 < ours.parameters["steps"] < 15


def test_held_out_fits_by_fold_and_by_group_are_scikit_learns() -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        training, candidate = made(con, halves(frame(300, noise=8.0)), exposure())
        assert list(training.moments) == ["random", "group"]
        assert_same_as_on_rows(training, candidate, reference())


@pytest.mark.parametrize("window", ["expanding", "rolling"])
def test_fits_by_time_learn_from_the_past_alone(window: str) -> None:
    asked = timed.exposure(backtest={"window": window, "gap": "3 days"}, candidates=("logistic",))
    asked = replace(asked, columns={**asked.columns, "y": "VARCHAR"})
    with duckdb.connect(config={"threads": 1}) as con:
        training, candidate = made(con, halves(timed.frame(600, noise=8.0)), asked)
        assert_same_as_on_rows(training, candidate, reference())
        assert np.isnan(candidate.held_out("time")[training.fold("time") == 0]).all()


def test_raw_columns_are_learned_from_as_they_are() -> None:
    rows = mixed.frame(500)
    asked = mixed.exposure("logistic")
    asked = replace(asked, columns={**asked.columns, "y": "BOOLEAN"})
    with duckdb.connect(config={"threads": 1}) as con:
        training, candidate = made(con, rows.assign(y=rows["y"] > rows["y"].median()), asked)
        assert not training.plain
        fitted = candidate.fit().estimator
        steps = clone(fitted).set_params(logisticregression__tol=1e-12, logisticregression__solver="newton-cholesky")
        assert_same_as_on_rows(training, candidate, steps)
        assert fitted.predict(training.features).dtype == np.bool_


def test_a_fold_whose_fit_knows_one_class_alone_is_told_that_class() -> None:
    rows = frame(200).assign(cell=lambda made: np.where(np.arange(200) % 4 == 0, "c1", "c0"))
    rows["y"] = (rows["cell"] == "c1").where(rows["id"] != "k1", True)
    asked = exposure("BOOLEAN", folds=2)
    rows = rows.drop(index=1)  # without it, all of c0 are false, and all of c1 true
    with duckdb.connect(config={"threads": 1}) as con:
        training, candidate = made(con, rows, asked)
        held_out = candidate.held_out("group")
        random = candidate.held_out("random")
    cells = training.sample["id"].isin(rows["id"][rows["cell"] == "c1"])
    assert (held_out[cells] == [1.0, 0.0]).all()
    assert (held_out[~cells] == [0.0, 1.0]).all()
    assert ((random > 0) & (random < 1)).all()


def test_it_competes_and_its_calibrated_probabilities_are_better_than_the_frequencies() -> None:
    asked = exposure(candidates=("logistic", "gradient_boosting"))
    rows = halves(frame(500, noise=6.0))
    with duckdb.connect(config={"threads": 1}) as con:
        training = training_set.read(con, asked, published(con, rows), silent)
        found = {
            name: candidates.build(CandidateSpec(name=name), con, training, silent)
            for name in ("logistic", "gradient_boosting")
        }
        judged = {name: judging.judge(one, training) for name, one in found.items()}
    for judgement in judged.values():
        for split in ("random", "group"):
            assert judgement.value(split, "log_loss") < 0.8 * judgement.value(split, "log_loss", "mean")
    # the classes are made by a linear rule
    assert judged["logistic"].value("random", "log_loss") < judged["gradient_boosting"].value("random", "log_loss")


def test_what_keeps_it_from_being_fitted_is_said_by_its_name() -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        _, candidate = made(con, halves(frame(100)), exposure())
        con.execute("insert into published select 'new' || id, cell, a, b, y from published")
        with pytest.raises(EstimatorError, match=r"^candidate logistic: it cannot be fitted: .* had 100 rows at the"):
            candidate.fit()


def test_several_classes_are_learned_from_the_sampled_rows() -> None:
    rows = frame(300)
    rows["y"] = pd.cut(rows["y"], 3, labels=["a", "b", "c"]).astype(str)
    with duckdb.connect(config={"threads": 1}) as con:
        training = training_set.read(con, exposure(), published(con, rows), silent)
        candidate = candidates.build(CandidateSpec(name="logistic"), con, training, silent)
        assert not isinstance(candidate, Logistic)
        assert candidate.held_out("random").shape == (300, 3)
        fitted = candidate.fit().estimator
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(training.features, training.answers)
    np.testing.assert_allclose(fitted[-1].coef_, theirs[-1].coef_)
