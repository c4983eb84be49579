"""Moments of a table: they add up, stay exact where the data are badly scaled, and bad rows are named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.arrays import Integers, Matrix
from ml.linear import blocks
from ml.linear import gathering as made
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.moments import Moments, complement, total

COLUMNS = ["a", "b c", 'd"e', "y"]
SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.fixture(scope="module", autouse=True, params=[made.SQL_COLUMNS, 0], ids=["as SQL", "by blocks"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways of making the products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "SQL_COLUMNS", request.param)
        yield


def numbers(seed: int, n: int, width: int = 4) -> Matrix:
    """Correlated columns of scales 1e-6 to 1e6, means up to a million standard deviations away."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.integers(-6, 7, width)
    offsets = scales * rng.choice([0, 1, -1e3, 1e6], width)
    rows: Matrix = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) * scales + offsets
    return rows


def table(con: duckdb.DuckDBPyConnection, rows: Matrix, fold: Integers | None = None) -> None:
    frame = pd.DataFrame(rows, columns=COLUMNS).assign(fold=0 if fold is None else fold)  # noqa: F841
    con.execute("create or replace table t as select * from frame")


def assert_same(ours: Moments, theirs: Moments, tolerance: float = 1e-11) -> None:
    """Equal within ``tolerance`` standard deviations, and as correlations."""
    assert ours.n == theirs.n
    sd = np.sqrt(np.diag(theirs.scatter) / theirs.n)
    sd = np.where(sd > 0, sd, 1.0)
    rounding = 4 * np.finfo(float).eps * np.abs(theirs.mean)
    assert np.all(np.abs(ours.mean - theirs.mean) <= tolerance * sd + rounding)
    np.testing.assert_allclose(
        ours.scatter / np.outer(sd, sd) / ours.n,
        theirs.scatter / np.outer(sd, sd) / ours.n,
        atol=tolerance,
        rtol=0,
    )


@SETTINGS
@given(st.integers(0, 10**6), st.integers(3, 200), st.data())
def test_moments_of_any_split_add_up_to_the_whole(seed: int, n: int, data: st.DataObject) -> None:
    rows = numbers(seed, n)
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), min_size=1, max_size=5)))
    parts = [Moments.of(part) for part in np.split(rows, cuts)]
    assert_same(total(parts), Moments.of(rows))
    assert_same(total(reversed(parts)), Moments.of(rows))


@SETTINGS
@given(st.integers(0, 10**6), st.integers(10, 300), st.integers(2, 5))
def test_gathered_folds_equal_the_rows(seed: int, n: int, k: int) -> None:
    rows, fold = numbers(seed, n), np.arange(n) % k
    with duckdb.connect(config={"threads": 1}) as con:
        table(con, rows, fold)
        folds = gather(con, "t", COLUMNS[:3], "y", "fold", k)
        whole = gather(con, "t", COLUMNS[:3], "y")
    assert list(folds) == list(range(k))
    for key, moments in folds.items():
        assert_same(moments, Moments.of(rows[fold == key]))
    assert_same(whole[0], Moments.of(rows))
    assert_same(total(folds.values()), whole[0])
    assert_same(complement(folds, 1), Moments.of(rows[fold != 1]))


@SETTINGS
@given(st.integers(0, 10**6), st.integers(10, 200), st.integers(2, 4))
def test_a_weight_of_so_many_is_the_row_so_often(seed: int, n: int, k: int) -> None:
    rows, fold = numbers(seed, n), np.arange(n) % k
    times = np.random.default_rng(seed).integers(1, 5, n)
    weighed = Moments.of(rows, times.astype(np.float64))
    with duckdb.connect(config={"threads": 1}) as con:
        frame = pd.DataFrame(rows, columns=COLUMNS).assign(fold=fold, times=times)  # noqa: F841
        con.execute("create or replace table t as select * from frame")
        folds = gather(con, "t", COLUMNS[:3], "y", "fold", k, "cast(times as double)")
    for key, moments in {**folds, -1: total(folds.values()), -2: weighed}.items():
        chosen = fold == key if key >= 0 else np.ones(n, np.bool_)
        expected = Moments.of(np.repeat(rows[chosen], times[chosen], axis=0))
        assert (moments.n, moments.weight) == (chosen.sum(), expected.n)
        assert_same(replace(moments, n=expected.n), expected)


def test_moments_of_four_rows_by_hand(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table t as select * from (values (1, 2.0), (2, 4.0), (3, 6.0), (6, 8.0)) as v (x, y)")
    (moments,) = gather(con, "t", ["x"], "y").values()
    assert moments.n == 4
    np.testing.assert_allclose(moments.mean, [3, 5])
    np.testing.assert_allclose(moments.scatter, [[14, 16], [16, 20]])


def test_rows_sorted_so_that_the_first_ones_mislead_are_as_exact(con: duckdb.DuckDBPyConnection) -> None:
    """The shift comes from the first 10,000 rows; here they lie a million deviations from the others."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60_000, 4)) + 1e6
    rows[:10_000, 0] = 0.0
    fold = (np.arange(60_000) >= 10_000).astype(int)
    table(con, rows, fold)
    folds = gather(con, "t", COLUMNS[:3], "y", "fold")
    for key in (0, 1):
        assert_same(folds[key], Moments.of(rows[fold == key]), 1e-12)
    assert folds[0].scatter[0, 0] == 0.0


def test_a_column_constant_within_a_fold_has_no_scatter_there(con: duckdb.DuckDBPyConnection) -> None:
    rng = np.random.default_rng(1)
    rows, fold = rng.normal(size=(300, 4)), np.arange(300) % 3
    rows[:, 1] = np.array([0.1, 0.7, 1e5])[fold]
    table(con, rows, fold)
    for moments in gather(con, "t", COLUMNS[:3], "y", "fold").values():
        assert moments.scatter[1, 1] <= (moments.n * moments.mean[1] * np.finfo(float).eps) ** 2


def test_row_order_and_threads_do_not_matter(con: duckdb.DuckDBPyConnection) -> None:
    rows = numbers(3, 300_000)
    table(con, rows)
    results = []
    for threads, order in ((1, "fold"), (2, "fold"), (2, "hash(a)")):
        con.execute(f"set threads = {threads}")
        results.append(gather(con, f"(select * from t order by {order})", COLUMNS[:3], "y")[0])
    for other in results[1:]:
        assert_same(other, results[0], 1e-12)


def test_other_numbers_are_cast(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table t as select i::tinyint as a, (i * i)::decimal(9, 2) as b, i::float as c, i as y "
        "from range(1, 6) as r (i)"
    )
    moments = gather(con, "t", ["a", "b", "c"], "y")[0]
    np.testing.assert_allclose(moments.mean, [3, 11, 3, 3])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("(1.0, 1.0, 0), (null, 1.0, 1)", "column 'x' has 1 NULL value: only finite numbers are allowed"),
        ("(1.0, null, 0), (null, 1.0, 1)", "'x' has 1 NULL value; column 'y' has 1 NULL value"),
        ("(1.0, 'nan', 0), (2.0, 'nan', 1), (1.0, null, 1)", "column 'y' has 1 NULL and 2 NaN values"),
        ("('inf', 1.0, 0), ('-inf', 2.0, 1)", "column 'x' has 2 infinite values"),
        ("(1e200, 1.0, 0), (3.0, 2.0, 1)", r"numbers in 'x' \(1 rows\) are too large to be squared"),
        ("(1.0, 1.0, 0), (2.0, 1.0, null)", r"the fold \(fold\) is NULL for 1 rows"),
        ("(1.0, 1.0, 1), (2.0, 1.0, 1)", "all 2 rows are in one fold, 1.*only one group"),
    ],
)
def test_bad_rows_are_named_and_none_is_dropped(con: duckdb.DuckDBPyConnection, rows: str, sentence: str) -> None:
    con.execute("create table t (x double, y double, fold integer)")
    con.execute(f"insert into t values {rows}")
    with pytest.raises(UnusableRowsError, match=sentence):
        gather(con, "t", ["x"], "y", "fold")


@pytest.mark.parametrize(
    ("fold", "folds", "sentence"),
    [
        ("i", 12, "10 rows are fewer than the 12 folds asked for"),
        ("i % 3", 5, "no rows are in fold 3, 4 of the 5 asked for"),
        ("i % 3", 2, "gives 2; 0 to 1 are allowed"),
        ("i / 2", 5, "is DOUBLE; an integer is allowed"),
    ],
)
def test_bad_folds_are_named(con: duckdb.DuckDBPyConnection, fold: str, folds: int, sentence: str) -> None:
    with pytest.raises(UnusableRowsError, match=sentence):
        gather(con, "(select i, i as y from range(10) as r (i))", ["i"], "y", fold, folds)


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ([], "no features were given"),
        (["x", "z"], "column 'z' is not in t, which has x, s, y"),
        (["x", "s"], "column 's' is VARCHAR; integers, decimals and floats are allowed"),
        (["x", "x"], "'x' is a feature twice"),
        (["x", "y"], "'y' is both a feature and the target"),
    ],
)
def test_bad_columns_are_named(con: duckdb.DuckDBPyConnection, features: list[str], sentence: str) -> None:
    con.execute("create table t as select 1.0 as x, 'a' as s, 2 as y")
    with pytest.raises(UnusableRowsError, match=sentence):
        gather(con, "t", features, "y")


def test_an_empty_table_is_an_error(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create table t (x double, y double)")
    for fold in (None, "0"):
        with pytest.raises(UnusableRowsError, match="t has no rows"):
            gather(con, "t", ["x"], "y", fold)


def test_a_wide_table_sums_to_the_same_in_several_blocks(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, width = numbers(5, 30_000, 40), 40
    fold = np.random.default_rng(0).integers(0, 3, len(rows))
    names = [f"x{number}" for number in range(width)]
    frame = pd.DataFrame(rows, columns=names).assign(fold=fold)  # noqa: F841
    con.execute("create table t as select * from frame")
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 8 * width * 7_000)
    folds = gather(con, "t", names[:-1], names[-1], "case when fold = 2 then 20 else fold end")
    assert list(folds) == [0, 1, 20]
    for key, part in folds.items():
        assert_same(part, Moments.of(rows[fold == min(key, 2)]), 1e-12)
        np.testing.assert_array_equal(part.scatter, part.scatter.T)
