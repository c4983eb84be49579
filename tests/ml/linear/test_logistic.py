"""Logistic regression fitted in the warehouse is scikit-learn's: same numbers, same fitted objects."""

from __future__ import annotations

from dataclasses import replace
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
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.arrays import Integers, Vector
from ml.columns import read_sql
from ml.linear import logistic, predict_sql
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.terms import Level, Value
from tests.ml.linear.tables import (
    SETTINGS,
    assert_fitted_alike,
    assert_same_coefficients,
    load,
    make_table,
    names,
    tables,
)
from tests.ml.linear.test_encoder import table as raw_table
from tests.ml.linear.test_encoder import tables as raw_tables
from tests.ml.linear.test_encoder import terms_of


def reference(c: float = 1.0) -> Pipeline:
    # its default, lbfgs, stops where rounding hides the loss
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=c, tol=1e-12, solver="newton-cholesky", max_iter=10_000)
    )


def classes_of(y: Vector | pd.Series[Any], share: float) -> Integers:
    """1 for about so many rows of the greatest values, and at least for one and not for all."""
    ones = int(np.clip(round(share * len(y)), 1, len(y) - 1))
    made = np.zeros(len(y), np.int64)
    made[np.argsort(-np.asarray(y))[:ones]] = 1
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Line search of Newton solver")  # which then goes on by lbfgs
@SETTINGS
@given(tables, st.sampled_from([0.5, 0.2, 0.01]), st.floats(0.0, 0.3), st.sampled_from([1.0, 0.01, 100.0]))
def test_the_fit_is_scikit_learns(kwargs: dict[str, Any], share: float, noise: float, c: float) -> None:
    x, y = make_table(**kwargs)
    rng = np.random.default_rng(kwargs["seed"])
    target = classes_of(y + noise * len(y) * y.std() * rng.normal(size=len(y)), share)
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x, y=target)
        (ours,) = logistic.fit(con, "t", names(x), "y", c=c)
        theirs = reference(c).fit(x, target)
        assert_same_coefficients(ours.pipeline[-1].coef_, theirs[-1].coef_, 1e-6)
        assert_same_coefficients(ours.pipeline[-1].intercept_, theirs[-1].intercept_, 1e-6)
        np.testing.assert_allclose(ours.pipeline.predict_proba(x), theirs.predict_proba(x), rtol=1e-6, atol=1e-9)
        assert predict_sql.check_parity(con, x, ours.pipeline, names(x)) is not None
    right = (theirs.decision_function(x) > 0) == (target == 1)
    assert ours.separated == right.all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Line search of Newton solver")
@settings(SETTINGS, max_examples=10)
@given(tables, st.sampled_from([0.5, 0.1]), st.floats(0.1, 0.3))
def test_the_fit_of_weighted_rows_is_scikit_learns(kwargs: dict[str, Any], share: float, noise: float) -> None:
    x, y = make_table(**kwargs)
    rng = np.random.default_rng(kwargs["seed"])
    target = classes_of(y + noise * len(y) * y.std() * rng.normal(size=len(y)), share)
    weights = rng.uniform(0.2, 3.0, len(y))
    with duckdb.connect(config={"threads": 1}) as con:
        load(con, x, y=target, weight=weights)
        (ours,) = logistic.fit(con, "t", names(x), "y", weight="weight")
    given = {"standardscaler__sample_weight": weights, "logisticregression__sample_weight": weights}
    theirs = reference().fit(x, target, **given)
    assert_same_coefficients(ours.pipeline[-1].coef_, theirs[-1].coef_, 1e-6)
    np.testing.assert_allclose(ours.pipeline.predict_proba(x), theirs.predict_proba(x), rtol=1e-6, atol=1e-9)
    assert ours.separated == ((theirs.decision_function(x) > 0) == (target == 1)).all()


@pytest.mark.slow
@settings(SETTINGS, max_examples=8)
@given(raw_tables.filter(lambda t: t["n"] >= 9))
def test_the_fit_of_raw_columns_is_scikit_learns(kwargs: dict[str, Any]) -> None:
    frame, y = raw_table(**kwargs)
    # NULL is filled with what is near the values, as a training set does
    terms = [
        replace(term, fill=7.0 + kwargs["offset"]) if isinstance(term, Value) and term.kind == "number" else term
        for term in terms_of(frame, kwargs["kinds"])
    ]
    target, fold = classes_of(y, 0.4), np.arange(kwargs["n"]) % 2
    target[:2], target[-2:] = 0, 1  # both classes in both folds
    rows = frame.assign(target=target, fold=fold)  # noqa: F841
    kinds = dict(zip(map(str, frame), kwargs["kinds"], strict=False))
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute(f"create table t as select {read_sql(kinds)}, target, fold from rows")
        fits = logistic.fit(con, "t", terms, "target", fold="fold", folds=2)
        for ours, learned in zip(fits, (fold >= 0, fold != 0, fold != 1), strict=True):
            theirs = clone(ours.pipeline)
            theirs.set_params(logisticregression__tol=1e-12, logisticregression__solver="newton-cholesky")
            theirs.fit(frame[learned], target[learned])
            np.testing.assert_allclose(
                ours.pipeline.predict_proba(frame), theirs.predict_proba(frame), rtol=1e-6, atol=1e-7
            )
        assert predict_sql.check_parity(con, frame, fits[0].pipeline, [*map(str, frame)]) is not None


def test_breast_cancer_and_its_folds_are_those_of_every_solver(con: duckdb.DuckDBPyConnection) -> None:
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    fold = np.arange(len(y)) % 5
    load(con, x, target=y, fold=fold)
    fits = logistic.fit(con, "t", names(x), "target", fold="fold", folds=5)
    assert len(fits) == 6
    for i, ours in enumerate(fits):
        learned = fold != i - 1
        # where its default stops, rounding hides the loss: 1e-6 from where its two other solvers arrive
        for solver, tolerance in (("lbfgs", 3e-6), ("newton-cg", 1e-9), ("newton-cholesky", 1e-9)):
            theirs = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, solver=solver, max_iter=10_000))
            theirs.fit(x[learned], y[learned])
            np.testing.assert_allclose(ours.pipeline[0].scale_, theirs[0].scale_, rtol=1e-9)
            np.testing.assert_allclose(ours.pipeline[-1].coef_, theirs[-1].coef_, rtol=0, atol=tolerance)
            np.testing.assert_allclose(ours.pipeline.predict_proba(x), theirs.predict_proba(x), rtol=0, atol=tolerance)


def test_many_rows_begin_at_a_samples_fit_and_end_at_the_same(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = make_table(3, 20_000, 4, "offsets")
    x["x 0"] += np.random.default_rng(1).standard_cauchy(len(x))  # whose few largest values decide its slope
    target = classes_of(y + np.random.default_rng(0).normal(size=len(y)), 0.3)
    load(con, x, y=target, fold=np.arange(len(y)) % 3)
    monkeypatch.setattr(logistic, "_MANY_ROWS", 30_000)
    slow = logistic.fit(con, "t", names(x), "y", fold="fold")
    monkeypatch.setattr(logistic, "_MANY_ROWS", 10_000)
    monkeypatch.setattr(logistic, "_SAMPLE", 5_000)
    monkeypatch.setattr(logistic, "_HELD", 40_000)
    fast = logistic.fit(con, "t", names(x), "y", fold="fold")
    for ours, theirs in zip(fast, slow, strict=True):
        np.testing.assert_allclose(ours.pipeline[-1].coef_, theirs.pipeline[-1].coef_, rtol=1e-9)
        assert ours.steps < theirs.steps
    # 20 rows of the rarer class are too few for a sample to know four slopes by
    load(con, x, y=classes_of(y, 0.001))
    (rare,) = logistic.fit(con, "t", names(x), "y")
    assert_same_coefficients(rare.pipeline[-1].coef_, reference().fit(x, classes_of(y, 0.001))[-1].coef_, 1e-6)


def test_row_order_and_threads_do_not_matter(con: duckdb.DuckDBPyConnection) -> None:
    x, y = make_table(7, 150_000, 3, "scales")
    load(con, x, y=classes_of(y, 0.2))
    fits = []
    for threads, order in ((1, '"x 0"'), (2, '"x 0"'), (2, "hash(y)")):
        con.execute(f"set threads = {threads}")
        fits.append(logistic.fit(con, f"(select * from t order by {order})", names(x), "y")[0].pipeline[-1])
    for other in fits[1:]:
        np.testing.assert_allclose(other.coef_, fits[0].coef_, rtol=1e-11)


def test_cells_may_be_learned_from_by_several_fits_or_by_none(con: duckdb.DuckDBPyConnection) -> None:
    x, y = make_table(5, 400, 3, "plain")
    target, cell = classes_of(y, 0.4), np.arange(400) % 4
    load(con, x, y=target, cell=cell)
    parts = gather(con, "t", names(x), "y", "cell")
    learns = [np.array([True, False, False, False]), np.array([True, True, False, False])]
    moments = [parts[0], parts[0] + parts[1]]
    trainings = [logistic.Training(some, cells) for some, cells in zip(moments, learns, strict=True)]
    fits = logistic.fit_cells(con, "t", names(x), "y", "cell", trainings)
    for ours, cells in zip(fits, learns, strict=True):
        theirs = reference().fit(x[cells[cell]], target[cells[cell]])
        assert_same_coefficients(ours.pipeline[-1].coef_, theirs[-1].coef_, 1e-6)


def test_the_pipeline_is_an_ordinary_fitted_one(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    x, y = make_table(8, 100, 3, "plain")
    labels = np.where(classes_of(y, 0.4) == 1, "yes", "it's not").astype(object)
    load(con, x, y=labels == "yes")
    relation = "(select * replace (cast(y as integer) as y) from t)"
    ours = logistic.fit(con, relation, names(x), "y", c=2.0, classes=["it's not", "yes"])[0].pipeline
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=2.0)).fit(x, labels)
    assert_fitted_alike(ours, theirs)
    assert list(ours.classes_) == ["it's not", "yes"]
    joblib.dump(ours, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").predict(x), ours.predict(x))
    assert (ours.predict(x) == theirs.predict(x)).all()


def test_separation_and_useless_columns_are_said(con: duckdb.DuckDBPyConnection) -> None:
    x = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": 5.0, "c": [2.0, 4.0, 6.0, 8.0]})
    load(con, x, y=[0, 0, 1, 1])
    (ours,) = logistic.fit(con, "t", names(x), "y")
    assert ours.separated
    assert ours.notes == (
        "the classes of all 4 rows are told apart without an error: the penalty alone bounds the coefficients",
        "column 'b' is constant at 5: its coefficient is 0",
        "column 'a' is a linear function of 'c': only their joint effect is known, and the penalty shares it out",
    )
    assert ours.pipeline[-1].coef_[0, 1] == 0
    np.testing.assert_allclose(ours.pipeline[-1].coef_, reference().fit(x, [0, 0, 1, 1])[-1].coef_, atol=1e-9)


def test_levels_and_null_have_slopes_of_their_own(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table t as select case i % 3 when 0 then 'a' when 1 then 'b' end as s, "
        "cast(i % 3 = 0 or i % 7 = 0 as integer) as y from range(200) as r (i)"
    )
    terms = [Level("s", "text", "a"), Level("s", "text", "b"), Level("s", "text", None)]
    (ours,) = logistic.fit(con, "t", terms, "y")
    low, high = ours.pipeline.predict_proba(pd.DataFrame({"s": ["b", "a"]}))[:, 1]
    assert low < 0.3
    assert high > 0.9
    (never,) = ours.pipeline.predict_proba(pd.DataFrame({"s": ["never"]}))[:, 1]
    assert low < never < high


@pytest.mark.parametrize(
    ("rows", "kwargs", "sentence"),
    [
        ("(1, 0), (2, 1), (3, 2)", {}, "column 'y' holds other numbers than 0 and 1"),
        ("(1, -1), (2, 1)", {}, "column 'y' holds other numbers than 0 and 1"),
        ("(1, 1), (2, 1), (3, 1)", {}, "column 'y' is 1 in all 3 rows that a fit learns from: both classes are needed"),
        (
            "(0, 0), (1, 1), (0, 0), (1, 0)",
            {"fold": "cast(x as integer)", "folds": 2},
            "column 'y' is 0 in all 2 rows that a fit learns from",
        ),
        ("(1, 0), (2, null)", {}, "column 'y' has 1 NULL value"),
    ],
)
def test_unusable_rows_are_named(
    con: duckdb.DuckDBPyConnection, rows: str, kwargs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UnusableRowsError, match=sentence):
        logistic.fit(con, f"(from (values {rows}) as v (x, y))", ["x"], "y", **kwargs)


def test_a_penalty_that_is_none_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    for c in (0.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"c is {c}; the inverse of a penalty must be positive and finite"):
            logistic.fit(con, "(from (values (1, 0), (2, 1)) as v (x, y))", ["x"], "y", c=c)


def test_a_table_that_changes_between_scans_is_named(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table t as select i as x, cast(i % 3 = 0 as integer) as y from range(30) as r (i)")
    (moments,) = gather(con, "t", ["x"], "y").values()
    con.execute("insert into t values (7, 1)")
    with pytest.raises(UnusableRowsError, match="t had 30 rows at the first scan and 31 at the next"):
        logistic.fit_cells(con, "t", [Value("x")], "y", "0", [logistic.Training(moments, np.array([True]))])
