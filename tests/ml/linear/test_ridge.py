"""Ridge from moments is scikit-learn's ridge: same numbers, same choice of penalty, same fitted objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.linear import ridge
from ml.linear.moments import Moments
from tests.ml.conftest import POINTS
from tests.ml.linear.tables import (
    ALPHAS,
    SETTINGS,
    assert_fitted_alike,
    assert_same_coefficients,
    load,
    make_table,
    names,
    reference,
    tables,
)
from tests.ml.rows import frame, trained_on

HOUSING = Path(__file__).parents[3] / "dbt_project" / "housing" / "data" / "california_housing.csv.gz"


@SETTINGS
@given(tables)
def test_fit_from_moments_equals_scikit_learn(kwargs: dict[str, Any]) -> None:
    x, y = make_table(**kwargs)
    moments = Moments.of(np.column_stack([x, y]))
    for alpha in (1e-2, 1.0, 100.0):
        ours, theirs = ridge.fit_moments(moments, alpha, names(x)), reference(alpha).fit(x, y)
        np.testing.assert_allclose(ours[0].mean_, theirs[0].mean_, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(ours[0].scale_, theirs[0].scale_, rtol=1e-10)
        assert_same_coefficients(ours[1].coef_, theirs[1].coef_, 1e-8)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@SETTINGS
@given(tables.filter(lambda t: t["n"] >= 9), st.integers(2, 4))
def test_fold_errors_equal_grid_search(kwargs: dict[str, Any], k: int) -> None:
    x, y = make_table(**kwargs)
    fold = np.random.default_rng(kwargs["seed"]).permutation(kwargs["n"]) % k
    alphas = [0.01, 1.0, 100.0]
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x, y=y, fold=fold)
        ours = ridge.fit(con, "t", names(x), "y", alphas=alphas, alpha_by="folds", fold="fold", folds=k)
    search = GridSearchCV(
        reference(), {"ridge__alpha": alphas}, cv=PredefinedSplit(fold), scoring="neg_mean_squared_error"
    ).fit(x, y)
    scores = -search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(ours.errors, scores, rtol=1e-8)
    if np.sort(scores)[1] > scores.min() * (1 + 1e-9):
        assert ours.alpha == search.best_params_["ridge__alpha"]
        assert_same_coefficients(ours.pipeline[-1].coef_, search.best_estimator_[-1].coef_, 1e-8)


def test_california_housing_gives_ridge_cvs_alpha_and_fit(con: duckdb.DuckDBPyConnection) -> None:
    raw = pd.read_csv(HOUSING)
    x = pd.DataFrame(
        {
            "MedInc": raw.median_income,
            "HouseAge": raw.housing_median_age.astype(float),
            "AveRooms": raw.total_rooms / raw.households,
            "AveBedrms": raw.total_bedrooms / raw.households,
            "Population": raw.population.astype(float),
            "AveOccup": raw.population / raw.households,
            "Latitude": raw.latitude,
            "Longitude": raw.longitude,
        }
    )
    y = raw.median_house_value / 100_000
    load(con, x, y=y)
    ours = ridge.fit(con, "t", names(x), "y", alphas=ALPHAS)
    theirs = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(x, y)
    assert ours.alpha == theirs[-1].alpha_ == pytest.approx(10)
    assert round(ours.pipeline.score(x, y), 3) == 0.606
    np.testing.assert_allclose(ours.pipeline[-1].coef_, theirs[-1].coef_, rtol=0, atol=1e-12)
    np.testing.assert_allclose(-min(ours.errors), theirs[-1].best_score_, rtol=1e-12)
    assert (ours.rank, ours.notes) == (8, ())


def test_row_order_and_threads_do_not_matter(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(7)
    x = pd.DataFrame(rng.normal(size=(150_000, 3)) * [1e-6, 1, 1e6] + [1, 1e6, 1e6], columns=["a", "b", "c"])
    y = x["a"] * 1e6 + x["b"] - x["c"] * 1e-6 + rng.normal(size=len(x))
    load(con, x, y=y)
    fits = []
    for threads, order in ((1, "a"), (2, "a"), (2, "hash(y)")):
        con.execute(f"set threads = {threads}")
        fits.append(ridge.fit(con, f"(select * from t order by {order})", names(x), "y", alphas=ALPHAS))
    for other in fits[1:]:
        assert other.alpha == fits[0].alpha
        np.testing.assert_allclose(other.pipeline[-1].coef_, fits[0].pipeline[-1].coef_, rtol=1e-12)
        np.testing.assert_allclose(other.errors, fits[0].errors, rtol=1e-12)


def test_the_pipeline_is_an_ordinary_fitted_one(tmp_path: Path) -> None:
    x, y = make_table(8, 100, 3, "plain")
    ours = ridge.fit_moments(Moments.of(np.column_stack([x, y])), 2.0, names(x))
    theirs = reference(2.0).fit(x, y)
    assert_fitted_alike(ours, theirs)
    assert list(ours.feature_names_in_) == names(x)
    assert ours[0].n_samples_seen_ == 100
    joblib.dump(ours, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(x), ours.predict(x))
    np.testing.assert_allclose(clone(ours).fit(x, y).predict(x), ours.predict(x))


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"alphas": []}, "no alphas were given"),
        ({"alphas": [1.0, 0.0]}, "alpha is 0.0; penalties must be positive and finite"),
        ({"alphas": [float("nan")]}, "alpha is nan"),
        ({"alphas": [1.0], "alpha_by": "aic"}, "alpha_by is 'aic'; 'loo' and 'folds' are allowed"),
        ({"alphas": [1.0], "alpha_by": "folds"}, "needs a fold expression"),
        ({"alphas": [1.0], "fold": "x"}, "needs a fold expression, and only it"),
    ],
)
def test_bad_settings_are_named(con: duckdb.DuckDBPyConnection, kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ridge.fit(con, "(select 1 as x, 2 as y)", ["x"], "y", **kwargs)


def test_generalized_errors_are_leave_one_out_with_every_leverage_at_their_mean() -> None:
    rows, alphas = frame(60), np.array([0.1, 3.0, 50.0])
    training = trained_on(rows, POINTS)
    z = StandardScaler().fit_transform(rows[["a", "b"]])
    y = rows["y"] - rows["y"].mean()
    expected = []
    for alpha in alphas:
        hat = z @ np.linalg.solve(z.T @ z + alpha * np.eye(2), z.T) + 1 / 60
        expected.append(60 * float(np.sum((y - (hat - 1 / 60) @ y) ** 2)) / (60 - np.trace(hat)) ** 2)
    assert ridge.generalized_errors(training.whole, alphas) == pytest.approx(expected, rel=1e-10)
