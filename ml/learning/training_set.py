"""The published rows as learners need them: sums of all rows by fold, and a bounded sample of rows as a frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ml import classes
from ml.arrays import Integers, Mask, Vector
from ml.classes import Class
from ml.exposures import PERIOD, Exposure
from ml.lake.engine import Engine, Here
from ml.lake.sql import quoted
from ml.learning import likely_leaks, linear_terms, periods, sampling
from ml.learning.encoding import Encoding
from ml.learning.periods import Periods
from ml.learning.published import CODE, RowsError, coded_sql, where_of
from ml.learning.sampling import BLOCK, CELL, FOLD, MOMENT, WEIGHT, slice_column
from ml.linear.gathering import UnusableRowsError, gather
from ml.linear.moments import Moments, complement, total
from ml.linear.terms import Term, Value, are_plain
from ml.progress import Say, following
from ml.records.publications import Publication
from ml.weights import taken


@dataclass(frozen=True)
class TrainingSet:
    """What is learned from one publication.

    Attributes:
        moments: By split and fold, the sums of `[terms..., target]` of all rows that have their answer.
        sample: The key as SQL's text, the features as they are, numbers and the target as float64, or the place of its
            class, the folds, the block and the slices, in the order of the key: all such rows, or about
            `exposure.sample_rows` of them.
        unknown: How many rows have no answer.
        terms: What a linear model makes of the features: each as it is where all are numbers without NULL.
        periods: How time cuts the rows; None where the spec does not split by time.
        before: Of these, by fold, the sums of all rows that its fit learns from.
        classes: The target's, rising; none of numbers. In the sums, a row's target is the place of its class.
        folded: All rows that have their answer, with their folds or cell, as a table expression.
        weight: SQL of what a row counts, 1 in the mean of all of them; None where each counts once.
        engine: What reads the rows, where that is not this process's DuckDB.
    """

    exposure: Exposure
    publication: Publication
    moments: Mapping[str, Mapping[int, Moments]]
    sample: pd.DataFrame
    unknown: int
    terms: tuple[Term, ...]
    periods: Periods | None = None
    before: Mapping[int, Moments] = field(default_factory=dict)
    classes: tuple[Class, ...] = ()
    folded: str = ""
    weight: str | None = None
    engine: Engine | None = None

    @property
    def plain(self) -> bool:
        """Whether all features are numbers without NULL, which every estimator takes as they are."""
        return are_plain(self.terms)

    @cached_property
    def encoding(self) -> Encoding | None:
        """How estimators that see rows take the features; None where all are plain."""
        if self.plain:
            return None
        # what chance may leave without a value is known from blocks, what time does from the rows that came before
        fits = [self.learned("time", number) for number in self.periods.folds] if self.periods else []
        return Encoding.of(self.features, self.exposure.kinds, self.blocks, self.exposure.spec.seed, fits)

    @cached_property
    def likely_leaks(self) -> dict[str, float]:
        """The features that alone nearly tell the target, and the share of it that each tells."""
        if self.classes:
            target: Vector = np.eye(len(self.classes))[self.codes]
        else:
            target = np.asarray(self.target, np.float64)
        return likely_leaks.found(self.features, self.exposure.kinds, target, self.blocks)

    @property
    def numbers(self) -> pd.DataFrame:
        """The sampled features that are numbers, shape (rows, numbers), NULL filled with `fills`."""
        kinds = self.exposure.kinds
        numbers = self.sample[[name for name, kind in kinds.items() if kind == "number"]]
        return numbers if self.plain else numbers.fillna(self.fills)

    @property
    def fills(self) -> dict[str, float]:
        """The mean of each feature that is a number, to stand for NULL; none where all features are plain."""
        return {
            term.column: term.fill
            for term in self.terms
            if isinstance(term, Value) and term.kind == "number" and term.fill is not None
        }

    @property
    def table(self) -> str:
        """The published rows that have their answer, as a table expression; of classes, with a column `CODE`."""
        return coded_sql(self.exposure, self.publication, self.classes)

    @property
    def whole(self) -> Moments:
        """The sums of all rows."""
        return total(next(iter(self.moments.values())).values())

    @property
    def served(self) -> Moments:
        """The sums of the rows that the fit which serves learns from: all, or those of the last window."""
        if self.periods is None or self.periods.since is None:
            return self.whole
        return self.moments["time"][self.periods.folds[-1]]

    @property
    def served_table(self) -> str:
        """These rows, as a table expression."""
        if self.periods is None or self.periods.since is None:
            return self.table
        time = self.exposure.spec.time
        assert time is not None
        return f"(from {self.table} where {periods.moment_sql(time)} >= {self.periods.since})"

    @property
    def served_sample(self) -> pd.DataFrame:
        """Those of the sample that are among them."""
        if self.periods is None or self.periods.since is None:
            return self.sample
        return self.sample[self.times >= self.periods.since]

    @property
    def features(self) -> pd.DataFrame:
        """The sampled features, shape (rows, features)."""
        return self.sample[list(self.exposure.features)]

    @property
    def target(self) -> "pd.Series[float]":
        """The sampled target, shape (rows,): numbers, or the places of classes."""
        return self.sample[self.exposure.spec.target]

    @property
    def codes(self) -> Integers:
        """The place of each sampled row's class among the classes, shape (rows,)."""
        codes: Integers = self.sample[self.exposure.spec.target].to_numpy(np.int64)
        return codes

    @cached_property
    def answers(self) -> "pd.Series[Any]":
        """The sampled target as estimators learn it, shape (rows,): numbers, or the classes themselves."""
        if not self.classes:
            return self.target
        return pd.Series(classes.array(self.classes)[self.codes], index=self.sample.index, name=self.target.name)

    @property
    def weights(self) -> Vector | None:
        """What each sampled row counts, shape (rows,); None where each counts once."""
        return None if self.weight is None else self.sample[WEIGHT].to_numpy(np.float64)

    def fold(self, split: str) -> Integers:
        """The fold of each sampled row, shape (rows,)."""
        return self.sample[FOLD[split]].to_numpy(np.int64)

    @property
    def times(self) -> Integers:
        """The time of each sampled row where the spec splits by it, in microseconds since 1970, shape (rows,)."""
        return self.sample[MOMENT].to_numpy(np.int64)

    def judged(self, split: str) -> Mask:
        """Which sampled rows are held out, shape (rows,): all, or those of later periods than the first."""
        return np.isin(self.fold(split), self.folds(split))

    def folds(self, split: str) -> list[int]:
        """The folds that are held out."""
        return [number for number in self.moments[split] if split != "time" or number > 0]

    def heldout_rows(self, split: str) -> int:
        """How many rows of the table are in the folds that are held out; the sampled ones of them are judged."""
        return sum(self.moments[split][number].n for number in self.folds(split))

    def others(self, split: str, number: int) -> Moments:
        """The sums of all rows that the fit learns from which is judged by a fold."""
        return self.before[number] if split == "time" else complement(self.moments[split], number)

    def learned(self, split: str, number: int) -> Mask:
        """Which sampled rows this fit learns from, shape (rows,)."""
        return learned(self.sample, split, number, self.periods)

    @property
    def cell(self) -> str:
        """The cell of a row of `folded`, an expression: no fold and no training set holds a part of a cell."""
        return quoted(CELL) if self.periods else _pair_sql(self.exposure)

    def learned_cells(self, split: str, number: int) -> Mask:
        """Which cells the fit learns from that is judged by a fold, shape (cells,)."""
        if self.periods:
            return self.periods.learned(number, self.periods.cells)
        spec = self.exposure.spec
        place, pairs = spec.splits.index(split), np.arange(spec.folds ** len(spec.splits))
        others: Mask = pairs // spec.folds**place % spec.folds != number
        return others

    @property
    def served_cells(self) -> Mask:
        """Which cells the fit learns from that serves, shape (cells,): all, or those of the last window."""
        if self.periods:
            times, since = self.periods.cells, self.periods.since
            return times >= (times[0] if since is None else since)
        return np.ones(self.exposure.spec.folds ** len(self.exposure.spec.splits), np.bool_)

    @property
    def blocks(self) -> Integers:
        """Rows that err alike: the bucket of each sampled row's group, or of its key; shape (rows,)."""
        return self.sample[BLOCK].to_numpy(np.int64)

    def judged_blocks(self, split: str) -> Integers:
        """The same of the held-out rows, shape (held-out rows,); neighbours in time where the split is by time."""
        judged = self.judged(split)
        return periods.stretches(self.times[judged]) if split == "time" else self.blocks[judged]

    def judged_weights(self, split: str) -> Vector | None:
        """What each held-out row counts, shape (held-out rows,); None where each counts once."""
        return taken(self.weights, self.judged(split))

    def slices(self) -> dict[str, Mask]:
        """Which sampled rows are in each slice, shape (rows,): `all`, and `name: value` of each of the spec's.

        Where the split is by time, each period that is held out is one more.
        """
        found: dict[str, Mask] = {"all": np.ones(len(self.sample), dtype=np.bool_)}
        if self.periods:
            for number, name in self.periods.names().items():
                found[f"{PERIOD}: {name}"] = self.fold("time") == number
        for name in self.exposure.spec.slices:
            values = self.sample[slice_column(name)]
            for value in sorted(values.unique()):
                found[f"{name}: {value}"] = (values == value).to_numpy(np.bool_)
        return found


def learned(sample: pd.DataFrame, split: str, number: int, periods: Periods | None) -> Mask:
    """Which sampled rows the fit learns from that is judged by a fold, shape (rows,): the other folds, or the past."""
    if split == "time":
        assert periods is not None
        return periods.learned(number, sample[MOMENT].to_numpy(np.int64))
    others: Mask = sample[FOLD[split]].to_numpy() != number
    return others


def read(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    say: Say,
    engine: Engine | None = None,
) -> TrainingSet:
    """The published rows that have their answer, checked: nothing else is dropped, and nothing filled in. Three scans:
    groups (or times), sample, sums.

    Args:
        engine: What reads the rows, where that is not this process's DuckDB.

    Raises:
        RowsError: There are no such rows, or fewer than folds, or fewer groups or times; a value is missing or not
            finite; the key is missing or repeats in the sample; a gap leaves nothing to learn from; there is one class,
            or too many, or not the one that is called positive.
    """
    where = where_of(exposure, publication)
    reader = engine or Here(con)
    rows = sampling.read(con, reader, exposure, publication, say)
    with following(con, say, "summing", rows.known):
        terms = linear_terms.of(con, reader, exposure, publication, where)
        if rows.periods is None:
            moments = _moments(reader, exposure, rows, terms, where)
            return TrainingSet(
                exposure,
                publication,
                moments,
                rows.sample,
                rows.unknown,
                terms,
                classes=rows.classes,
                folded=rows.relation,
                weight=rows.weight,
                engine=engine,
            )
        cells = _cells(reader, exposure, rows, terms, quoted(CELL), where)
    by_time = _by_time(exposure, cells, rows.periods, where)
    return TrainingSet(
        exposure,
        publication,
        {"time": by_time[0]},
        rows.sample,
        rows.unknown,
        terms,
        rows.periods,
        by_time[1],
        rows.classes,
        rows.relation,
        rows.weight,
        engine,
    )


def read_sample(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    say: Say,
    engine: Engine | None = None,
) -> tuple[pd.DataFrame, Periods | None]:
    """The `sample` and the `periods` of `read` alone, without the scan for the sums of all rows.

    Raises:
        RowsError: As `read`, but for values that are missing or not finite.
    """
    rows = sampling.read(con, engine or Here(con), exposure, publication, say)
    return rows.sample, rows.periods


def _moments(
    engine: Engine, exposure: Exposure, rows: sampling.Rows, terms: tuple[Term, ...], where: str
) -> dict[str, dict[int, Moments]]:
    """Gather both splits in one scan: by pairs of folds, which add up to the folds of each."""
    spec = exposure.spec
    splits = spec.splits
    cells = _cells(engine, exposure, rows, terms, _pair_sql(exposure), where)
    found: dict[str, dict[int, Moments]] = {}
    for i, split in enumerate(splits):
        parts: dict[int, list[Moments]] = {}
        for cell, moments in cells.items():
            parts.setdefault(cell // spec.folds**i % spec.folds, []).append(moments)
        found[split] = {fold: total(parts[fold]) for fold in sorted(parts)}
    return found


def _pair_sql(exposure: Exposure) -> str:
    """The fold of a row, or its pair of folds, as one number from 0."""
    folds, splits = exposure.spec.folds, exposure.spec.splits
    # added as integers: of a sum of small types, which may overflow, DuckDB knows no range, and hashes the groups
    pair = " + ".join(f'cast("{FOLD[split]}" as integer) * {folds**i}' for i, split in enumerate(splits))
    return f"cast({pair} as {'utinyint' if folds ** len(splits) <= 256 else 'usmallint'})"


def _cells(
    engine: Engine, exposure: Exposure, rows: sampling.Rows, terms: tuple[Term, ...], cell: str, where: str
) -> dict[int, Moments]:
    """Gather the sums of each cell, an expression, in one scan."""
    answer = exposure.spec.target if exposure.task == "regression" else CODE
    try:
        return gather(engine, rows.relation, terms, answer, fold=cell, weight=rows.weight)
    except UnusableRowsError as error:
        raise RowsError(f"{where}: {error}") from None


def _by_time(
    exposure: Exposure, cells: Mapping[int, Moments], cut: Periods, where: str
) -> tuple[dict[int, Moments], dict[int, Moments]]:
    """The sums by period, and by fold the sums of the rows that its fit learns from: both are totals of cells."""
    times = cut.cells

    def together(chosen: Mask) -> Iterable[Moments]:
        return [cells[number] for number in sorted(cells) if chosen[number]]

    period = cut.of(times)
    held = {number: total(together(period == number)) for number in [0, *cut.folds]}
    before = {}
    for number in cut.folds:
        parts = together(cut.learned(number, times))
        if not parts:
            begin, backtest = periods.said(cut.starts[number - 1]), exposure.spec.backtest
            raise RowsError(
                f"{where}: a gap of {backtest.gap} before {begin}, where fold {number} of {backtest.folds} begins, "
                "leaves no rows to learn from. Shorten meta.ml.backtest.gap, or lower meta.ml.backtest.folds."
            )
        before[number] = total(parts)
    return held, before
