"""A linear model of raw columns, from sums, is scikit-learn's own fit of the rows, and its SQL predicts the same."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ml.arrays import Vector
from ml.columns import read_sql
from ml.linear import encoder, predict_sql, ridge
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.moments import total
from ml.linear.terms import Level, Term, Value
from tests.ml.linear.tables import SETTINGS

NAMES = ("x", 'a "b"', "select", "Straße", "X y", "表")
TEXTS = ("", "it's", 'say "no"', "北京", "NULL", "nan", "x\n")
tables: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n": st.sampled_from([3, 9, 40, 300]),
        "kinds": st.lists(st.sampled_from(["number", "date", "text", "code"]), min_size=1, max_size=6),
        "missing": st.sampled_from([0.0, 0.2, 1.0]),
        "offset": st.sampled_from([0.0, 1e6]),
    }
)


def table(seed: int, n: int, kinds: list[str], missing: float, offset: float) -> tuple[pd.DataFrame, Vector]:
    """Columns of these kinds, of which the even ones have NULL, and a target."""
    random = np.random.default_rng(seed)
    columns = {}
    for i, (name, kind) in enumerate(zip(NAMES, kinds, strict=False)):
        if kind == "text":
            column = pd.Series(random.choice(np.array(TEXTS, object), n), dtype=object)
        elif kind == "date":
            column = pd.Series(pd.Timestamp("1999-12-31") + pd.to_timedelta(random.integers(0, 10**9, n), unit="s"))
            column = column.astype("datetime64[us]")
        elif kind == "code":
            column = pd.Series(random.choice([1.0, 2.5, -7.0], n))
        else:
            column = pd.Series(offset + random.normal(size=n))
        columns[name] = column.where(random.uniform(size=n) >= missing) if i % 2 == 0 else column
    y = random.normal(size=n) + sum(pd.factorize(column)[0] for column in columns.values())
    return pd.DataFrame(columns), y


def terms_of(frame: pd.DataFrame, kinds: list[str], levels: int = 5) -> tuple[Term, ...]:
    """The terms of a frame; NULL is filled with 7, whatever the values are."""
    found: list[Term] = []
    for kind in ("number", "date", "text", "code"):
        names = [name for name, of in zip(frame.columns, kinds, strict=False) if of == kind]
        nullable = [name for name in names if frame[name].isna().any()]
        if kind in ("number", "date"):
            found += [Value(name, kind, 7.0) for name in names]
            found += [Level(name, kind, None) for name in nullable]
            continue
        for name in names:
            some = sorted(frame[name].dropna().unique())[:levels]
            found += [Level(name, kind, level) for level in some]
            if name in nullable:
                found.append(Level(name, kind, None))
    return tuple(found)


@pytest.mark.slow
@settings(SETTINGS, max_examples=20)
@given(tables)
def test_the_fit_from_sums_is_scikit_learns_and_sql_predicts_the_same(kwargs: dict[str, Any]) -> None:
    frame, y = table(**kwargs)
    terms = terms_of(frame, kwargs["kinds"])
    rows = frame.assign(y=y)  # noqa: F841
    kinds = dict(zip(map(str, frame), kwargs["kinds"], strict=False))
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute(f"create table t as select {read_sql(kinds)}, y from rows")
        moments = total(gather(con, "t", terms, "y").values())
        pipeline = ridge.fit_moments(moments, 1.0, terms)
        theirs = clone(pipeline).fit(frame, y)
        predicted = pipeline.predict(frame)
        np.testing.assert_allclose(predicted, theirs.predict(frame), rtol=1e-6, atol=1e-6 * np.abs(y).max())
        again = encoder.terms_of(pipeline[0])
        assert again is not None
        assert [(term.column, term.kind) for term in again] == [(term.column, term.kind) for term in terms]
        assert predict_sql.check_parity(con, frame, pipeline, [*map(str, frame)]) is not None
        # rows with levels and NULLs that were not there
        new, _ = table(**{**kwargs, "seed": kwargs["seed"] + 1, "missing": 0.5})
        for name, kind in zip(new.columns, kwargs["kinds"], strict=False):
            if kind in ("text", "code"):
                new[name] = new[name].where(new.index % 3 > 0, "never" if kind == "text" else 12345.0)
        if kwargs["missing"] == 0.0:
            new.iloc[0] = None
        assert predict_sql.check_parity(con, new, pipeline, [*map(str, new)]) is not None
        in_sql = con.sql(f"select {predict_sql.predict_sql(theirs, [*map(str, new)])} as p from new").df()["p"]
        np.testing.assert_allclose(in_sql, theirs.predict(new), rtol=1e-9, atol=1e-9 * np.abs(y).max())


def test_each_training_set_has_its_own_mean() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, np.nan, 10.0, np.nan, 30.0], "fold": [0, 0, 0, 1, 1, 1]})
    rows = frame.assign(y=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # noqa: F841
    terms = (Value("x", fill=4.0), Level("x", "number", None))
    with duckdb.connect() as con:
        con.execute("create table t as select * from rows")
        parts = gather(con, "t", terms, "y", fold="cast(fold as integer)")
    for moments, mean in ((parts[0], 1.5), (parts[1], 20.0), (total(parts.values()), 10.75)):
        pipeline = ridge.fit_moments(moments, 1.0, terms)
        ((_, made, _),) = pipeline[0].transformers_
        assert made[-1].statistics_ == pytest.approx([mean])
        assert pipeline[1].mean_ == pytest.approx([mean, 1 / 3])


def test_errors_of_folds_are_those_of_scikit_learns_fits() -> None:
    frame, y = table(3, 300, ["number", "text", "date", "number"], 0.2, 0.0)
    terms, fold = terms_of(frame, ["number", "text", "date", "number"]), np.arange(300) % 3
    rows = frame.assign(y=y, fold=fold)  # noqa: F841
    with duckdb.connect() as con:
        con.execute("create table t as select * from rows")
        parts = gather(con, "t", terms, "y", fold="cast(fold as integer)")
    found = ridge.fold_errors(parts, [0.5, 3.0], terms)
    pipeline = ridge.fit_moments(total(parts.values()), 1.0, terms)
    for held in range(3):
        for i, alpha in enumerate((0.5, 3.0)):
            fitted = clone(pipeline).set_params(ridge__alpha=alpha).fit(frame[fold != held], y[fold != held])
            errors = np.square(y[fold == held] - fitted.predict(frame[fold == held]))
            assert found[held, i] == pytest.approx(errors.mean(), rel=1e-9)


def test_a_level_that_never_occurs_has_no_weight() -> None:
    rows = pd.DataFrame({"s": ["a", "b", "a", "b"] * 5, "y": np.arange(20.0)})  # noqa: F841
    terms = tuple(Level("s", "text", level) for level in ("a", "b", "c"))
    with duckdb.connect() as con:
        con.execute("create table t as select * from rows")
        pipeline = ridge.fit_moments(gather(con, "t", terms, "y")[0], 1.0, terms)
    assert pipeline[-1].coef_[2] == 0.0


def test_nan_and_infinity_among_null_are_still_errors() -> None:
    terms = (Value("x", fill=1.0), Level("x", "number", None))
    with duckdb.connect() as con:
        con.execute("create table t as select * from (values (1.0::double, 1), (null, 2), ('nan', 3)) as t (x, y)")
        with pytest.raises(UnusableRowsError, match=r"^column 'x' has 1 NaN value: only finite numbers are allowed"):
            gather(con, "t", terms, "y")
