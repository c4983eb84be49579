"""Time cuts rows into periods: even ones, at distinct times, and nothing that comes after is learned from."""

from datetime import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.learning import periods
from ml.learning.periods import Periods, TooFewTimesError
from ml.spec import BacktestSpec

DAY = 24 * 3600 * 1_000_000
SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


def cut(times: pd.Series, **backtest: object) -> Periods:
    frame = pd.DataFrame({"at": times})  # noqa: F841 (read by the query)
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("create table rows as from frame")
        return periods.cut(con, "rows", "at", BacktestSpec.model_validate(backtest))


def days(numbers: list[int]) -> pd.Series:
    return pd.Series(pd.Timestamp("2026-01-01") + pd.to_timedelta(numbers, unit="D"))


def micros(times: pd.Series) -> np.ndarray:
    return times.astype("datetime64[us]").astype("int64").to_numpy()


@SETTINGS
@given(numbers=st.lists(st.integers(0, 40), min_size=12, max_size=80), folds=st.integers(2, 5))
def test_every_period_has_rows_and_equal_times_stay_together(numbers: list[int], folds: int) -> None:
    times = days(numbers)
    distinct = len(set(numbers))
    if distinct <= folds:
        said = f"at has {distinct} distinct times, and {folds} folds by time need {folds + 1}"
        with pytest.raises(TooFewTimesError, match=said):
            cut(times, folds=folds)
        return
    found = cut(times, folds=folds)
    period = found.of(micros(times))
    assert sorted(set(period)) == list(range(folds + 1))
    assert pd.Series(period).groupby(np.array(numbers)).nunique().max() == 1
    assert list(found.folds) == list(range(1, folds + 1))
    order = np.argsort(np.array(numbers), kind="stable")
    assert (np.diff(period[order]) >= 0).all()


def test_distinct_times_are_cut_evenly() -> None:
    times = days(list(np.random.default_rng(0).permutation(600)))
    period = cut(times).of(micros(times))
    assert np.bincount(period).tolist() == [100] * 6


@pytest.mark.parametrize("window", ["expanding", "rolling"])
def test_a_fold_learns_from_what_came_before_it_less_the_gap(window: str) -> None:
    times = days(list(range(60)))
    found, at = cut(times, folds=5, gap="3 days", window=window), micros(times)
    assert np.flatnonzero(found.of(at) == 4).tolist() == list(range(40, 50))
    # of a window that moves it is the length of the period before: days 27 to 36
    first = 0 if window == "expanding" else 27
    assert np.flatnonzero(found.learned(4, at)).tolist() == list(range(first, 37))
    assert np.flatnonzero(found.learned(1, at)).tolist() == list(range(7))
    assert found.since == (at[50] if window == "rolling" else None)


def test_a_gap_of_months_is_one_of_the_calendar() -> None:
    times = pd.Series(pd.date_range("2026-01-01", periods=12, freq="MS"))
    found = cut(times, folds=3, gap="1 month")
    assert [periods.said(start) for start in found.starts] == [
        "2026-04-01 00:00:00",
        "2026-07-01 00:00:00",
        "2026-10-01 00:00:00",
    ]
    assert [periods.said(end)[:10] for end in found.ends] == ["2026-03-01", "2026-06-01", "2026-09-01"]


@SETTINGS
@given(
    numbers=st.lists(st.integers(0, 200), min_size=20, max_size=60, unique=True),
    gap=st.integers(0, 90),
    window=st.sampled_from(["expanding", "rolling"]),
)
def test_a_cell_lies_whole_in_or_out_of_each_period_and_training_set(numbers: list[int], gap: int, window: str) -> None:
    times = days(numbers)
    found, at = cut(times, folds=4, gap=f"{gap} days", window=window), micros(times)
    frame = pd.DataFrame({"at": times})  # noqa: F841 (read by the query)
    with duckdb.connect(config={"threads": 1}) as con:
        rows = con.execute(f"select {found.cell_sql('at')} as cell, {found.fold_sql('at')} as fold from frame").df()
    cell = rows["cell"].to_numpy().astype(int)
    assert rows["fold"].tolist() == found.of(at).tolist() == found.of(found.cells)[cell].tolist()
    for fold in found.folds:
        assert found.learned(fold, at).tolist() == found.learned(fold, found.cells)[cell].tolist()
        # nothing of its own period, nor of the gap before it
        learned = at[found.learned(fold, at)]
        assert (learned < found.starts[fold - 1] - gap * DAY).all()


def test_periods_are_named_by_days_or_by_moments() -> None:
    days_ = cut(days(list(range(6))), folds=2)
    assert days_.names() == {1: "2026-01-03 until 2026-01-05", 2: "from 2026-01-05"}
    hours = cut(pd.Series(pd.date_range(datetime(2026, 1, 1), periods=6, freq="h")), folds=2)
    assert hours.names() == {1: "2026-01-01 02:00:00 until 2026-01-01 04:00:00", 2: "from 2026-01-01 04:00:00"}


def test_a_date_and_a_time_of_day_elsewhere_are_moments_in_utc() -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("set timezone = 'UTC'")
        query = f"select {periods.moment_sql('at')} from (select timestamptz '2026-01-01 02:00:00+02' as at)"
        assert con.execute(query).fetchall() == [(int(pd.Timestamp("2026-01-01").timestamp() * 1e6),)]
        query = f"select {periods.moment_sql('at')} from (select date '1969-12-31' as at)"
        assert con.execute(query).fetchall() == [(-DAY,)]


def test_neighbours_in_time_are_drawn_together() -> None:
    times = np.repeat(np.arange(27) * DAY, 2)
    found = periods.stretches(np.random.default_rng(0).permutation(times))
    assert sorted(np.bincount(found).tolist()) == [6] * 9
    assert periods.stretches(times).tolist() == np.repeat(np.arange(9), 6).tolist()
