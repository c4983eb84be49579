"""Leave-one-out errors are RidgeCV's, by all penalties or by the few that stand for them."""

from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.linear import leave_one_out, ridge
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.spectrum import Spectrum
from tests.ml.linear.tables import ALPHAS, SETTINGS, assert_same_coefficients, load, make_table, names, tables


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
@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt")  # its scaler of weighted constants
@SETTINGS
# where means are far from zero, the weighted scaler of scikit-learn loses half of its digits
@given(tables.filter(lambda t: t["kind"] != "offsets"))
def test_weighted_rows_are_left_out_as_ridge_cv_does(kwargs: dict[str, Any]) -> None:
    x, y = make_table(**kwargs)
    weights = np.random.default_rng(kwargs["seed"]).uniform(0.2, 3.0, len(y))
    alphas = np.logspace(-2, 2, 9)
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x, **{"y": y, "how much": weights})
        ours = ridge.fit(con, "t", names(x), "y", alphas=alphas, weight='"how much"')
    theirs = make_pipeline(StandardScaler(), RidgeCV(alphas, store_cv_results=True)).fit(
        x, y, standardscaler__sample_weight=weights, ridgecv__sample_weight=weights
    )
    scores = theirs[-1].cv_results_.sum(axis=0) / weights.sum()
    np.testing.assert_allclose(ours.errors, scores, rtol=1e-8)
    np.testing.assert_allclose(ours.pipeline[0].mean_, theirs[0].mean_, rtol=1e-9)
    if np.sort(scores)[1] > scores.min() * (1 + 1e-9):
        assert ours.alpha == theirs[-1].alpha_
        assert_same_coefficients(ours.pipeline[-1].coef_, theirs[-1].coef_, 1e-8)


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


def test_one_row_has_nothing_to_leave_out(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UnusableRowsError, match="has 1 row; at least 2 are needed"):
        ridge.fit(con, "(select 1 as x, 2 as y)", ["x"], "y", alphas=[1.0])


def test_rows_that_change_between_the_scans_are_noticed(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table t as select i as x, i * i as y from range(10) as r (i)")
    moments = gather(con, "t", ["x"], "y")[0]
    con.execute("insert into t values (1, 1)")
    with pytest.raises(UnusableRowsError, match="10 rows at the first scan and 11 at the second"):
        leave_one_out.loo_errors(con, "t", ["x"], "y", moments, [1.0])
