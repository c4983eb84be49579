"""Folds and samples of keys and groups: even, whole, and the same in any order; as SQL they are what Python says."""

from collections import Counter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.learning import folds

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


@SETTINGS
@given(sizes=st.dictionaries(st.integers(0, 1023), st.integers(1, 1000), min_size=5, max_size=60))
def test_groups_go_to_the_smallest_fold_the_largest_first(sizes: dict[int, int]) -> None:
    fold = folds.assign(sizes, 5)
    assert fold.keys() == sizes.keys()
    rows = [sum(sizes[group] for group in fold if fold[group] == number) for number in range(5)]
    assert max(rows) - min(rows) <= max(sizes.values())
    assert fold == folds.assign(dict(reversed(sizes.items())), 5)


def test_the_largest_group_has_a_fold_of_its_own_and_equal_ones_go_by_number() -> None:
    assert folds.assign({7: 10, 3: 4, 5: 4, 1: 2}, 2) == {7: 0, 3: 1, 5: 1, 1: 1}


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    """Ten thousand rows in 300 groups."""
    con = duckdb.connect(config={"threads": 1})
    con.execute("create table t as select 'k' || i as id, 'g' || i % 300 as cell from range(10_000) as t(i)")
    return con


def test_the_fold_of_a_row_is_that_of_its_group_s_bucket(con: duckdb.DuckDBPyConnection) -> None:
    sizes = dict(con.execute(f"select {folds.bucket_sql('cell')}, count(*) from t group by 1").fetchall())
    assert sum(sizes.values()) == 10_000 and set(sizes) <= set(range(folds.BUCKETS))
    fold = folds.assign(sizes, 5)
    rows = con.execute(f"select cell, {folds.bucket_sql('cell')}, {folds.group_sql('cell', fold)} from t").fetchall()
    assert all(number == fold[bucket] for _, bucket, number in rows)
    assert len({(cell, number) for cell, _, number in rows}) == 300  # no group is in two folds
    assert sorted(Counter(number for *_, number in rows).values()) == pytest.approx([2000] * 5, abs=40)


def test_random_folds_are_even_and_other_seeds_are_other_folds(con: duckdb.DuckDBPyConnection) -> None:
    one, other = folds.random_sql(("id",), 5, 0), folds.random_sql(("id",), 5, 1)
    counts = Counter(con.execute(f"select {one}, {other} from t").fetchall())
    assert set(counts) == {(i, j) for i in range(5) for j in range(5)}
    assert sorted(counts.values()) == pytest.approx([400] * 25, abs=100)


@pytest.mark.parametrize(("rows", "count"), [(2, 2), (5, 5), (10, 5), (11, 5), (23, 10)])
def test_few_rows_are_dealt_in_turn_by_their_keys_whatever_their_order(rows: int, count: int) -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute(f"create table few as select 'k' || i as id from range({rows}) as t(i)")
        deals = [
            dict(con.execute(f"select id, {folds.dealt_sql(('id',), count, seed)} from {table}").fetchall())
            for table in ("few", "(from few order by id desc)")
            for seed in (0, 1)
        ]
    for dealt in deals:
        sizes = Counter(dealt.values())
        assert set(sizes) == set(range(count))
        assert max(sizes.values()) - min(sizes.values()) <= 1
    assert deals[:2] == deals[2:]
    assert rows < 10 or deals[0] != deals[1]


@SETTINGS
@given(groups=st.lists(st.text(min_size=1), min_size=2, max_size=9, unique=True))
def test_few_groups_have_folds_of_their_own(groups: list[str]) -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("create table few (cell varchar)")
        con.executemany("insert into few values (?)", [[group] for group in groups for _ in range(3)])
        sizes = dict(con.execute(f"select {folds.hash_sql('cell')}, count(*) from few group by 1").fetchall())
        fold = folds.few_groups_sql("cell", folds.assign(sizes, len(groups)))
        found = con.execute(f"select distinct cell, {fold} from few").fetchall()
    assert len(found) == len(groups)
    assert {number for _, number in found} == set(range(len(groups)))


def test_a_sample_is_about_as_large_as_asked_and_all_rows_where_there_are_no_more(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert folds.sampled_sql(("id",), 10_000, 10_000, 0) == "true"
    (sampled,), *_ = con.execute(
        f"select count(*) from t where {folds.sampled_sql(('id',), 10_000, 1000, 0)}"
    ).fetchall()
    assert sampled == pytest.approx(1000, abs=100)


def test_buckets_are_sampled_whole_up_to_the_rows_allowed_and_not_at_all_where_they_are_large() -> None:
    sizes = dict.fromkeys(range(100), 10)
    chosen = folds.sampled_buckets(sizes, 505, 5, 0)
    assert chosen is not None
    assert len(chosen) == 50
    assert chosen == folds.sampled_buckets(dict(reversed(sizes.items())), 505, 5, 0)
    assert chosen != folds.sampled_buckets(sizes, 505, 5, 1)
    assert folds.in_buckets_sql("cell", {9, 2}) == f"{folds.bucket_sql('cell')} in (2, 9)"
    # ten of the largest must fit into a fold's share of the sample: 10 x 10 x 5
    assert folds.sampled_buckets(sizes, 500, 5, 0) is not None
    assert folds.sampled_buckets(sizes, 499, 5, 0) is None
