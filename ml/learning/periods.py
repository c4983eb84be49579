"""Rows cut by time into periods: which rows a fold holds out, and which came before it and are learned from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import duckdb
import numpy as np

from ml.arrays import Integers, Mask
from ml.columns import value_sql
from ml.errors import TractError
from ml.lake.sql import text
from ml.spec import BacktestSpec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TooFewTimesError(TractError):
    """There are fewer distinct times than periods; the message gives both numbers."""


@dataclass(frozen=True)
class Periods:
    """Period 0 is only learned from; each later period is a fold, held out from a fit on what came before it.

    Attributes:
        starts: The first moment of each fold, rising, in microseconds since 1970, UTC.
        ends: The moment before which the rows of each fold's fit lie: its start less the gap.
        rolling: Whether a fit learns from one window alone, as long as the period before its fold; else from all that
            came before.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    rolling: bool = False

    @property
    def folds(self) -> range:
        """The numbers of the periods that are held out."""
        return range(1, len(self.starts) + 1)

    def of(self, times: Integers) -> Integers:
        """The period of each time, from 0."""
        return np.searchsorted(np.array(self.starts), times, side="right").astype(np.int64)

    def learned(self, fold: int, times: Integers) -> Mask:
        """Which times the fit that is judged by a fold learns from."""
        learned: Mask = times < self.ends[fold - 1]
        if self.rolling and fold > 1:
            learned &= times >= self.ends[fold - 2]
        return learned

    @property
    def since(self) -> int | None:
        """The moment from which the fit that serves learns: as those that are judged, from all or the last period."""
        return self.starts[-1] if self.rolling else None

    @property
    def bounds(self) -> list[int]:
        """Where cells meet: no period and no training set holds a part of a cell."""
        return sorted({*self.starts, *self.ends})

    @property
    def cells(self) -> Integers:
        """A time in each cell, in the order of the numbers that `cell_sql` gives."""
        bounds = self.bounds
        return np.array([bounds[0] - 1, *bounds])

    def cell_sql(self, time: str) -> str:
        """The cell of a row, from 0."""
        return _case(moment_sql(time), self.bounds)

    def fold_sql(self, time: str) -> str:
        """The period of a row, from 0."""
        return _case(moment_sql(time), self.starts)

    def names(self) -> dict[int, str]:
        """What each fold is called: days, or moments where a period does not begin with a day."""
        moments = [_moment(start) for start in self.starts]
        days = all(moment.time() == time() for moment in moments)
        said = [str(moment.date() if days else moment.replace(tzinfo=None)) for moment in moments]
        return {
            fold: f"{begin} until {end}" if end else f"from {begin}"
            for fold, begin, end in zip(self.folds, said, [*said[1:], ""], strict=True)
        }


def moment_sql(time: str) -> str:
    """A row's time in microseconds since 1970, UTC."""
    return f"epoch_us({value_sql(time, 'date')})"


def cut(con: duckdb.DuckDBPyConnection, relation: str, time: str, backtest: BacktestSpec) -> Periods:
    """Cut rows into one period more than there are folds, of about equal numbers of rows; equal times stay together.

    Args:
        con: Where the relation can be read.
        relation: A table expression, whose times are neither NULL nor infinite.
        time: The column.
        backtest: How many folds, the gap and the window.

    Raises:
        TooFewTimesError: There are fewer distinct times than periods.
    """
    starts = _quantiles(con, relation, time, backtest.folds) or _distinct(con, relation, time, backtest.folds)
    gap = text(backtest.gap or "0 days")
    query = (
        f"select epoch_us(make_timestamp(start) - cast({gap} as interval)) "
        f"from (select unnest([{', '.join(map(str, starts))}]) as start) order by start"
    )
    ends = [row[0] for row in con.execute(query).fetchall()]
    return Periods(tuple(starts), tuple(ends), backtest.window == "rolling")


def _quantiles(con: duckdb.DuckDBPyConnection, relation: str, time: str, folds: int) -> list[int]:
    """The times of the rows at which periods of equal numbers of rows begin; none where two begin at the same time.

    Of 5 million distinct times it takes 0.5 s; to number the distinct times takes 10.
    """
    moments = f"(select {moment_sql(time)} as moment from {relation})"
    ((rows,),) = con.execute(f"select count(*) from {relation}").fetchall()
    shares = [(fold * rows // (folds + 1) + 0.5) / max(rows, 1) for fold in range(folds + 1)]
    ((found,),) = con.execute(f"select quantile_disc(moment, {shares}) from {moments}").fetchall()
    # the first is the least: what begins there is the period that is not held out
    return list(found[1:]) if rows and len(set(found)) == len(found) else []


def _distinct(con: duckdb.DuckDBPyConnection, relation: str, time: str, folds: int) -> list[int]:
    """The same where many rows are of one time: of the distinct times those that cut most evenly."""
    parts = folds + 1
    times = (
        "(select moment, row_number() over (order by moment) - 1 as place, sum(count) over () as rows, "
        "sum(count) over (order by moment) - count as before from "
        f"(select {moment_sql(time)} as moment, count(*) as count from {relation} group by 1))"
    )
    wanted = ", ".join(f"min(place) filter (where before * {parts} >= rows * {part})" for part in range(1, parts))
    ((count, *found),) = con.execute(f"select count(*), {wanted} from {times}").fetchall()
    if count < parts:
        raise TooFewTimesError(f"{time} has {count:,} distinct times, and {folds} folds by time need {parts}")
    places = _apart([count if place is None else place for place in found], count)
    query = f"select moment from {times} where place in ({', '.join(map(str, places))}) order by 1"
    return [row[0] for row in con.execute(query).fetchall()]


def _apart(places: Sequence[int], count: int) -> list[int]:
    """Places among so many times, rising from 1 at least: each as near as can be to where it was."""
    found: list[int] = []
    for place in places:
        found.append(max(place, (found[-1] if found else 0) + 1))
    for left, i in enumerate(reversed(range(len(found))), start=1):
        found[i] = min(found[i], count - left)
    return found


def stretches(times: Integers) -> Integers:
    """Of rows that are neighbours in time, and so err alike, one number: shape (rows,), from 0.

    Blocks of a bootstrap that do not overlap, as many times long as the cube root of their number (Carlstein, The use
    of subseries values for estimating the variance of a general statistic from a stationary sequence, 1986).
    """
    distinct, place = np.unique(times, return_inverse=True)
    found: Integers = place // math.ceil(len(distinct) ** (1 / 3))
    return found


def said(moment: int) -> str:
    """A moment in microseconds since 1970 as a person reads it."""
    return str(_moment(moment).replace(tzinfo=None))


def _moment(moment: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment)


def _case(moment: str, bounds: Sequence[int]) -> str:
    """How many of the bounds, in rising order, a moment has reached."""
    cases = " ".join(f"when {moment} < {bound} then {number}" for number, bound in enumerate(bounds))
    return f"cast(case {cases} else {len(bounds)} end as utinyint)"
