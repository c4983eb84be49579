"""Ridge from moments is scikit-learn's ridge: same numbers, same choice of penalty, same fitted objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ml.arrays import Vector
from ml.linear import leave_one_out, ridge
from ml.linear.moments import Moments, UnusableRowsError, gather
from ml.linear.predict_sql import predict_sql
from ml.linear.spectrum import Spectrum

ALPHAS = np.logspace(-3, 1, 30)
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
HOUSING = Path(__file__).parents[3] / "dbt_project" / "housing" / "data" / "california_housing.csv.gz"
tables: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n": st.sampled_from([2, 3, 5, 9, 30, 400]),
        "p": st.integers(1, 8),
        "kind": st.sampled_from(["plain", "scales", "offsets", "collinear", "constant", "all constant"]),
    }
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def make_table(seed: int, n: int, p: int, kind: str) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) @ (np.eye(p) + 0.5 * rng.normal(size=(p, p)))
    y = x @ rng.normal(size=p) + rng.normal(size=n) + 5
    if kind == "scales":
        x = x * 10.0 ** rng.integers(-6, 7, p)
    elif kind == "offsets":
        x = x + 10.0 ** rng.integers(0, 7, p)
    elif kind == "collinear":
        x[:, -1] = x[:, :-1].sum(axis=1)  # constant if it is the only one
    elif kind == "constant":
        x[:, 0] = 0.1
    elif kind == "all constant":
        x[:] = 0.1
    return pd.DataFrame(x, columns=[f"x {i}" for i in range(p)]), pd.Series(y, name="y")


def load(con: duckdb.DuckDBPyConnection, x: pd.DataFrame, **others: Any) -> None:
    frame = x.assign(**others)  # noqa: F841
    con.execute("create or replace table t as select * from frame")


def names(x: pd.DataFrame) -> list[str]:
    return [str(name) for name in x]


def reference(alpha: float = 1.0) -> Pipeline:
    return make_pipeline(StandardScaler(), Ridge(alpha=alpha))


def assert_same_coefficients(ours: Vector, theirs: Vector, tolerance: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, np.abs(theirs).max()))


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
@given(tables)
def test_loo_equals_ridge_cv(kwargs: dict[str, Any]) -> None:
    x, y = make_table(**kwargs)
    alphas = np.logspace(-2, 2, 9)
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x, y=y)
        ours = ridge.fit(con, "t", names(x), "y", alphas=alphas)
    theirs = make_pipeline(StandardScaler(), RidgeCV(alphas, store_cv_results=True)).fit(x, y)[-1]
    scores = theirs.cv_results_.mean(axis=0)
    np.testing.assert_allclose(ours.errors, scores, rtol=1e-8)
    np.testing.assert_allclose(min(ours.errors), -theirs.best_score_, rtol=1e-8)
    if np.sort(scores)[1] > scores.min() * (1 + 1e-9):  # a tie, as when all is constant, is rounding's to break
        assert ours.alpha == theirs.alpha_
        assert_same_coefficients(ours.pipeline[-1].coef_, theirs.coef_, 1e-8)


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


def test_few_penalties_stand_for_all_where_rows_are_many(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = make_table(5, 200_000, 4, "plain")
    load(con, x, y=y)
    ours = ridge.fit(con, "t", names(x), "y", alphas=ALPHAS)
    nodes, _ = leave_one_out._nodes(Spectrum(ours.moments), ALPHAS)
    assert len(nodes) < 8
    monkeypatch.setattr(leave_one_out, "_MAX_INTERPOLATION_ERROR", 0.0)
    direct = ridge.fit(con, "t", names(x), "y", alphas=ALPHAS)
    np.testing.assert_allclose(ours.errors, direct.errors, rtol=1e-14)
    assert ours.alpha == direct.alpha
    theirs = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(x, y)[-1]
    assert ours.alpha == theirs.alpha_
    np.testing.assert_allclose(ours.pipeline[-1].coef_, theirs.coef_, rtol=1e-12)
    np.testing.assert_allclose(-min(ours.errors), theirs.best_score_, rtol=1e-12)


def test_a_row_of_great_leverage_is_not_interpolated(con: duckdb.DuckDBPyConnection) -> None:
    x, y = make_table(6, 20_000, 2, "plain")
    x.iloc[7, 1] = 1e6
    load(con, x, y=y)
    ours = ridge.fit(con, "t", names(x), "y", alphas=ALPHAS)
    theirs = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, store_cv_results=True)).fit(x, y)[-1]
    assert len(leave_one_out._nodes(Spectrum(ours.moments), ALPHAS)[0]) < len(ALPHAS)
    np.testing.assert_allclose(ours.errors, theirs.cv_results_.mean(axis=0), rtol=1e-6)
    assert ours.alpha == theirs.alpha_


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
    for mine, other in zip(ours, theirs, strict=True):
        assert {name: type(value) for name, value in vars(mine).items()} == {
            name: type(value) for name, value in vars(other).items()
        }
        assert mine.get_params() == other.get_params()
        check_is_fitted(mine)
    assert repr(ours) == repr(theirs)
    assert list(ours.feature_names_in_) == names(x)
    assert ours[0].n_samples_seen_ == 100
    joblib.dump(ours, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(x), ours.predict(x))
    np.testing.assert_allclose(clone(ours).fit(x, y).predict(x), ours.predict(x))


def test_notes_name_constant_and_collinear_columns(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table t as select *, a + 2 * b as sum, 5.0 as five, -3 * c + 7 as twin, a - c + d + e as y "
        "from (select sin(i) * 100 as a, cos(i * i) as b, sin(i * 3) as c, cos(i * 7) as d, sin(i * 5) as e "
        "from range(500) as r (i))"
    )
    fit = ridge.fit(con, "t", ["sum", "a", "b", "c", "d", "five", "twin"], "y", alphas=[1e-3, 1.0])
    assert fit.rank == 4
    constant, *collinear = fit.notes
    assert constant == "column 'five' is constant at 5: its coefficient is 0"
    assert fit.pipeline[-1].coef_[5] == 0.0
    groups = [{word for word in ("sum", "a", "b", "c", "d", "twin") if f"'{word}'" in note} for note in collinear]
    assert sorted(groups, key=sorted) == sorted([{"sum", "a", "b"}, {"c", "twin"}], key=sorted)
    x, y = con.execute("select * exclude (y, e) from t").df(), con.execute("select y from t").df()["y"]
    x = x[["sum", "a", "b", "c", "d", "five", "twin"]]
    theirs = reference(fit.alpha).fit(x, y)
    np.testing.assert_allclose(fit.pipeline[-1].coef_, theirs[-1].coef_, rtol=1e-9, atol=1e-9)


def test_one_row_has_nothing_to_leave_out(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UnusableRowsError, match="has 1 row; at least 2 are needed"):
        ridge.fit(con, "(select 1 as x, 2 as y)", ["x"], "y", alphas=[1.0])


def test_rows_that_change_between_the_scans_are_noticed(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table t as select i as x, i * i as y from range(10) as r (i)")
    moments = gather(con, "t", ["x"], "y")[0]
    con.execute("insert into t values (1, 1)")
    with pytest.raises(UnusableRowsError, match="10 rows at the first scan and 11 at the second"):
        leave_one_out.loo_errors(con, "t", ["x"], "y", moments, [1.0])


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
