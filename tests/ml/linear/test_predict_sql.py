"""The predictions as SQL are scikit-learn's, and a version whose two differ may not serve."""

from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.exposures import Exposure
from ml.learning.calibration import Calibration
from ml.linear import predict_sql as linear_sql
from ml.linear import ridge
from ml.linear.moments import Moments
from ml.linear.predict_sql import ParityError, predict_sql
from tests.ml.linear.tables import SETTINGS, load, make_table, names, reference, tables
from tests.ml.rows import candidate, frame, trained_on


@pytest.mark.slow
@SETTINGS
@given(tables)
def test_sql_predictions_equal_predict(kwargs: dict[str, Any]) -> None:
    x, y = make_table(**kwargs)
    pipeline = ridge.fit_moments(Moments.of(np.column_stack([x, y])), 1.0, names(x))
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x)
        sql = con.execute(f"select {predict_sql(pipeline, names(x))} as p from t").fetchnumpy()["p"]
    np.testing.assert_allclose(sql, pipeline.predict(x), rtol=1e-9, atol=1e-12)


def test_sql_predictions_take_scikit_learns_own_fit_and_refuse_other_columns(
    con: duckdb.DuckDBPyConnection,
) -> None:
    x, y = make_table(0, 50, 3, "scales")
    pipeline = reference().fit(x, y)
    load(con, x)
    sql = con.execute(f"select {predict_sql(pipeline, names(x))} as p from t").fetchnumpy()["p"]
    np.testing.assert_allclose(sql, pipeline.predict(x), rtol=1e-9)
    with pytest.raises(ValueError, match="was fitted with x 0, x 1, x 2, not with x 1, x 0, x 2"):
        predict_sql(pipeline, ["x 1", "x 0", "x 2"])


def test_a_version_whose_sql_differs_may_not_serve(exposure: Exposure, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = frame()
    estimator = candidate("ridge", trained_on(rows, exposure)).fit().estimator
    right = linear_sql.predict_sql(estimator, ["a", "b"])
    monkeypatch.setattr(linear_sql, "predict_sql", lambda estimator, features: f"({right}) * (1 + 1e-8)")
    sentence = r"SQL predicts .* and scikit-learn .* for \{'a': .*\}: they differ by 1\.0e-08 of the terms, allowed is"
    with duckdb.connect() as con, pytest.raises(ParityError, match=sentence):
        linear_sql.check_parity(con, rows, estimator, ["a", "b"])
    monkeypatch.setattr(linear_sql, "predict_sql", lambda estimator, features: f"({right}) * (1 + 1e-10)")
    with duckdb.connect() as con:
        assert linear_sql.check_parity(con, rows, estimator, ["a", "b"]) == pytest.approx(1e-10, rel=1e-3)


def test_probabilities_as_sql_are_those_of_a_calibrated_classifier_far_out_too(con: duckdb.DuckDBPyConnection) -> None:
    x, y = make_table(2, 300, 3, "plain")
    labels = np.where(y > y.median(), "yes", "no").astype(object)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, labels)
    calibrated = Calibration(0.3, 0.7).around(pipeline, x)
    far = x * 1e6
    for estimator in (pipeline, calibrated):
        assert linear_sql.is_linear(estimator)
        for rows in (x, far):
            load(con, rows)
            sql = con.execute(f"select {predict_sql(estimator, names(x))} as p from t").fetchnumpy()["p"]
            np.testing.assert_allclose(sql, estimator.predict_proba(rows)[:, 1], rtol=1e-9, atol=1e-12)
            assert linear_sql.check_parity(con, rows, estimator, names(x)) is not None
    assert {*np.round(sql)} == {0.0, 1.0}
    assert not np.allclose(pipeline.predict_proba(x), calibrated.predict_proba(x), atol=1e-3)


def test_what_is_no_binary_linear_model_has_no_sql() -> None:
    x, y = make_table(2, 60, 3, "plain")
    three = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, np.arange(60) % 3)
    two = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y > y.median())
    boosting = HistGradientBoostingClassifier(max_iter=2).fit(x, y > y.median())
    isotonic = CalibratedClassifierCV(FrozenEstimator(two), method="isotonic").fit(x, y > y.median())
    of_several = CalibratedClassifierCV(LogisticRegression(), cv=2, ensemble=True).fit(x, y > y.median())
    within = CalibratedClassifierCV(FrozenEstimator(boosting)).fit(x, y > y.median())
    for estimator in (three, boosting, isotonic, of_several, within):
        assert not linear_sql.is_linear(estimator)


def test_a_classifier_whose_sql_differs_may_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = make_table(2, 60, 3, "plain")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y > y.median())
    right = predict_sql(pipeline, names(x))
    monkeypatch.setattr(linear_sql, "predict_sql", lambda estimator, features: f"({right}) + 1e-7")
    with duckdb.connect() as con, pytest.raises(ParityError, match="The version may not serve"):
        linear_sql.check_parity(con, x, pipeline, names(x))
