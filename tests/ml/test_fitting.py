"""The recorded recipe is scikit-learn's own, with the figures of the example that this project starts from."""

import joblib
import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from ml import california_housing, fitting


def test_ridge_on_scikit_learns_eight_columns_has_the_example_s_r2(tmp_path: object) -> None:
    frame = california_housing.fetch()
    features, target = frame.drop(columns="MedHouseVal"), frame["MedHouseVal"]
    fitted = fitting.fit("ridge", features, target)
    assert fitted.parameters == {"alpha": 10.0}
    assert round(fitted.pipeline.score(features, target), 3) == 0.606


def test_ridge_is_ridgecv_on_standardized_columns() -> None:
    frame = california_housing.fetch()
    features, target = frame.drop(columns="MedHouseVal"), frame["MedHouseVal"]
    fitted = fitting.fit("ridge", features, target)
    expected = RidgeCV(alphas=np.logspace(-3, 1, 30)).fit(StandardScaler().fit_transform(features), target)
    ridge = fitted.pipeline["ridge"]
    assert fitted.parameters["alpha"] == expected.alpha_
    assert ridge.coef_ == pytest.approx(expected.coef_, rel=1e-12)
    assert ridge.intercept_ == pytest.approx(expected.intercept_, rel=1e-12)


def test_the_scaler_file_reads_back_as_means_and_scaler(tmp_path: object) -> None:
    frame = california_housing.fetch()
    scaler = fitting.scaler(frame)
    path = f"{tmp_path}/scaler.joblib"
    joblib.dump([dict(zip(frame.columns, scaler.mean_.tolist(), strict=True)), scaler], path)
    means, read = joblib.load(path)
    assert means["MedInc"] == pytest.approx(frame["MedInc"].mean(), rel=1e-12)
    assert read.transform(frame).std(axis=0) == pytest.approx(np.ones(9))
