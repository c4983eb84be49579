"""The published rows as learners need them: sums of all rows by fold, and a bounded sample of rows as a frame."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from ml import answers, classes
from ml.arrays import Integers, Mask, Vector
from ml.classes import Class
from ml.columns import LEVELS, number_sql, read_sql, value_sql
from ml.errors import TractError
from ml.exposures import PERIOD, Exposure
from ml.lake import first_line
from ml.lake.engine import Engine, Here, added, table
from ml.lake.sql import LARGEST, listed, literal, quoted
from ml.learning import folds, likely_leaks, periods
from ml.learning.encoding import LEAST_ROWS, Encoding
from ml.learning.periods import Periods, TooFewTimesError
from ml.linear.moments import Moments, UnusableRowsError, complement, gather, total
from ml.linear.terms import Level, Term, Value, are_plain
from ml.progress import Say, following
from ml.records.publications import Publication
from ml.weights import taken, usable_sql, weight_sql

# Folds of the splits, as columns beside the published ones; 0 of the split by time is held out from no fit.
FOLD = {"random": "random fold", "group": "group fold", "time": "time fold"}
CELL = "time cell"
MOMENT = "moment in microseconds"
WEIGHT = "weight of the row"
BLOCK = "block of rows"
SAMPLED = "in the sample"
# The place of a row's class among the classes, from 0.
CODE = "code of the class"
# Levels of a column that a linear model tells apart, the most frequent.
MOST_LEVELS = 50
# Values of a column that an engine's part tells of, the most frequent there: where all have fewer, none is missed.
PART_LEVELS = 100_000
# Rows of the sample at a time.
BATCH = 100_000


def _slice(name: str) -> str:
    return f"slice {name}"


class RowsError(TractError):
    """The published rows cannot be learned from; the message names the column and what was found."""


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
        return _coded(self.exposure, self.publication, self.classes)

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
            values = self.sample[_slice(name)]
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
    where = _where(exposure, publication)
    reader = engine or Here(con)
    rows = _sampled(con, reader, exposure, publication, say)
    with following(con, say, "summing", rows.known):
        terms = _terms(con, reader, exposure, publication, where)
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
    rows = _sampled(con, engine or Here(con), exposure, publication, say)
    return rows.sample, rows.periods


def _where(exposure: Exposure, publication: Publication) -> str:
    return f"{publication.publication_id}, read by exposure {exposure.name}"


def _answered(exposure: Exposure, publication: Publication) -> str:
    return f"(from {publication.table} where {answers.known_sql(exposure.spec.target)})"


def _coded(exposure: Exposure, publication: Publication, of: tuple[Class, ...]) -> str:
    answered, target = _answered(exposure, publication), exposure.spec.target
    if not of:
        return answered
    code = classes.code_sql(target, exposure.columns[target], of)
    return f"(select *, {code} as {quoted(CODE)} from {answered})"


def _classes(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> tuple[Class, ...]:
    """The target's classes, rising; none of numbers.

    Raises:
        RowsError: There is one, or too many, or none that is the spec's positive; or SQL cannot write one.
    """
    if exposure.task == "regression":
        return ()
    spec = exposure.spec
    value = classes.read_sql(spec.target, exposure.columns[spec.target])
    counted = f"select {value}, count(*) from {_answered(exposure, publication)} group by 1 order by 2 desc limit 10000"
    found = added(engine.rows(counted), keys=1)
    if why := classes.unfit(spec.target, len(found), sum(count for _, count in found)):
        raise RowsError(f"{where}: {why}.")
    if any(isinstance(one, str) and chr(0) in one for one, _ in found):
        raise RowsError(
            f"{where}: a class of {spec.target} holds the character NUL, which SQL cannot write: remove it."
        )
    rising = tuple(sorted(one for one, _ in found))
    if why := classes.unfit_positive(spec.positive, rising):
        raise RowsError(f"{where}: {why}.")
    return rising


@dataclass(frozen=True)
class _Rows:
    """How many rows have an answer, how many have none, the former with their folds, a sample of them, the periods, the
    classes, and the weight: see `TrainingSet`.
    """

    known: int
    unknown: int
    relation: str
    sample: pd.DataFrame
    periods: Periods | None
    classes: tuple[Class, ...]
    weight: str | None


def _sampled(
    con: duckdb.DuckDBPyConnection, engine: Engine, exposure: Exposure, publication: Publication, say: Say
) -> _Rows:
    where = _where(exposure, publication)
    sizes, unknown = _sizes(engine, exposure, publication, where)
    rows = sum(sizes.values())
    weight = _weight(engine, exposure, publication, where)
    found = _classes(engine, exposure, publication, where)
    # quantiles of the times are of all rows at once: one column, which DuckDB reads for both
    cut = _periods(con, exposure, publication, where) if exposure.spec.split == "time" else None
    columns = _timed(exposure, cut, rows) if cut else _folded(engine, exposure, publication, sizes, where)
    folded = f"select *, {columns} from {_coded(exposure, publication, found)}"
    relation = f"({folded})"
    with following(con, say, "sampling", rows):
        try:
            sample = _sample(con, engine, exposure, relation, rows, CODE if found else exposure.spec.target, weight)
        except (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ParserException,
            duckdb.ConversionException,
        ) as error:
            raise RowsError(f"{where}: meta.ml.slices or a feature cannot be read: {first_line(error)}.") from None
    _check_key(sample, exposure, where)
    return _Rows(rows, unknown, relation, sample, cut, found, weight)


def _sizes(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> tuple[dict[int, int], int]:
    """Rows that have their answer by bucket of groups, or in one where the spec names no group; and how many others."""
    spec = exposure.spec
    bucket, group = (folds.bucket_sql(spec.group), quoted(spec.group)) if spec.group else ("0", "0")
    known = f"filter (where {answers.known_sql(spec.target)})"
    counted = f"select {bucket}, count(*), count(*) {known}, count({group}) {known} from {publication.table} group by 1"
    found = added(engine.rows(counted), keys=1)
    rows, unknown = sum(count for _, _, count, _ in found), sum(every - count for _, every, count, _ in found)
    if rows < spec.judged_folds:
        beside = f" whose target {spec.target} is known, and {unknown:,} others" if unknown else ""
        raise RowsError(
            f"{where}, has {rows} rows{beside}; {spec.judged_folds} folds need at least as many. "
            f"Is the table built from an empty source? Otherwise lower meta.ml.{spec.folds_setting}."
        )
    if lost := sum(count - there for *_, count, there in found):
        raise RowsError(
            f"{where}: the group {spec.group} is missing in {lost} of {rows} rows. "
            "Fill it in where the table is built, and give the column the dbt test `not_null`."
        )
    return {bucket: count for bucket, _, count, _ in found if count}, unknown


def _weight(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> str | None:
    """What a row counts: its weight by the mean of all, so that penalties mean what they do where each counts once.

    Raises:
        RowsError: A weight is missing, not finite, or not above zero.
    """
    name = exposure.spec.weight
    if name is None:
        return None
    weight = weight_sql(name)
    relation = _answered(exposure, publication)
    usable = f"count(*) - count(*) filter (where {usable_sql(name)})"
    query = f"select sum({weight}), count({weight}), {usable}, count(*) from {relation}"
    ((weights, weighed, unusable, rows),) = added(engine.rows(query))
    if unusable:
        raise RowsError(
            f"{where}: the weight {name} is missing, or no number above zero, in {unusable:,} of {rows:,} rows. Fill "
            "it in where the table is built, or leave the rows out."
        )
    # the order of threads decides the last digits of a mean: no model is to depend on them
    return f"{weight} / {literal(float(f'{weights / weighed:.6g}'))}"


def _periods(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, where: str) -> Periods:
    time = exposure.spec.time
    assert time is not None
    relation, value = _answered(exposure, publication), value_sql(time, "date")
    query = f"select count(*) - count({value}), count(*) filter (where not isfinite({value})), count(*) from {relation}"
    ((missing, infinite, rows),) = con.execute(query).fetchall()
    if missing or infinite:
        found = f"missing in {missing:,}" if missing else f"infinite in {infinite:,}"
        raise RowsError(
            f"{where}: the time {time} is {found} of {rows:,} rows. Fill it in where the table is built, or leave the "
            "rows out, and give the column the dbt test `not_null`."
        )
    try:
        return periods.cut(con, relation, time, exposure.spec.backtest)
    except TooFewTimesError as error:
        raise RowsError(f"{where}: column {error}. Lower meta.ml.backtest.folds.") from None


def _timed(exposure: Exposure, cut: Periods, rows: int) -> str:
    """A list to select: the period, the cell, the time as a number, and whether the row is sampled."""
    spec = exposure.spec
    assert spec.time is not None
    columns = {
        FOLD["time"]: cut.fold_sql(spec.time),
        CELL: cut.cell_sql(spec.time),
        MOMENT: periods.moment_sql(spec.time),
        SAMPLED: folds.sampled_sql(spec.key_columns, rows, exposure.sample_rows, spec.seed),
    }
    return ", ".join(f"{value} as {quoted(name)}" for name, value in columns.items())


def _folded(engine: Engine, exposure: Exposure, publication: Publication, sizes: dict[int, int], where: str) -> str:
    """A list to select: the folds, and whether the row is sampled."""
    spec = exposure.spec
    rows = sum(sizes.values())
    columns = [f'{_random_fold(engine, exposure, publication, rows)} as "{FOLD["random"]}"']
    sampled = folds.sampled_sql(spec.key_columns, rows, exposure.sample_rows, spec.seed)
    if spec.group:
        columns.append(f'{_group_fold(engine, exposure, publication, sizes, where)} as "{FOLD["group"]}"')
        chosen = folds.sampled_buckets(sizes, exposure.sample_rows, spec.folds, spec.seed)
        if rows > exposure.sample_rows and chosen:
            sampled = folds.in_buckets_sql(spec.group, chosen)
    return f"{', '.join(columns)}, {sampled} as {quoted(SAMPLED)}"


def _random_fold(engine: Engine, exposure: Exposure, publication: Publication, rows: int) -> str:
    """The random fold of a row: by the hash of its key, or dealt where so few rows leave a fold without any."""
    spec = exposure.spec
    by_hash = folds.random_sql(spec.key_columns, spec.folds, spec.seed)
    if rows < folds.FEW_ROWS * spec.folds:
        used = engine.rows(f"select distinct {by_hash} from {_answered(exposure, publication)}")
        if len(set(used)) < spec.folds:
            if engine.parts:
                raise RowsError(
                    f"{publication.publication_id}, read by exposure {exposure.name}, has {rows} rows, which no engine "
                    "deals into folds: leave meta.ml.engine out, or raise meta.ml.spark_above_rows."
                )
            return folds.dealt_sql(spec.key_columns, spec.folds, spec.seed)
    return by_hash


def _group_fold(engine: Engine, exposure: Exposure, publication: Publication, sizes: dict[int, int], where: str) -> str:
    """The fold of a row's group: of its bucket, or its own where so few groups share buckets that a fold has none."""
    spec = exposure.spec
    assert spec.group is not None
    if len(sizes) >= spec.folds:
        return folds.group_sql(spec.group, folds.assign(sizes, spec.folds))
    hashed = f"select {folds.hash_sql(spec.group)}, count(*) from {_answered(exposure, publication)} group by 1"
    groups: dict[int, int] = dict(added(engine.rows(hashed), keys=1))
    if len(groups) < spec.folds:
        raise RowsError(
            f"{where}: column {spec.group} has {len(groups)} groups; {spec.folds} folds by group need at least as "
            "many. Lower meta.ml.folds or choose another group."
        )
    return folds.few_groups_sql(spec.group, folds.assign(groups, spec.folds))


def _terms(
    con: duckdb.DuckDBPyConnection, engine: Engine, exposure: Exposure, publication: Publication, where: str
) -> tuple[Term, ...]:
    """What a linear model makes of the features, in the order of `encoder.fitted`.

    Raises:
        RowsError: A code is not finite, or a date is.
    """
    kinds = exposure.kinds
    nulls = _nulls(con, engine, exposure, publication)
    if set(kinds.values()) == {"number"} and not any(nulls.values()):
        return tuple(Value(name) for name in kinds)
    _check_finite(engine, exposure, publication, where)
    relation = _answered(exposure, publication)
    found: list[Term] = []
    for kind in ("number", "date"):
        names = [name for name in kinds if kinds[name] == kind]
        values = {name: number_sql(name, kind) for name in names}
        # of what is not finite the sums will tell
        usable = [(value, f"filter (where abs({value}) < {literal(LARGEST)})") for value in values.values()]
        sums = [f"sum({value}) {which}, count({value}) {which}" for value, which in usable]
        filled = added(engine.rows(f"select {', '.join(sums)} from {relation}"))[0] if sums else ()
        means = [total / count if count else 0.0 for total, count in zip(filled[::2], filled[1::2], strict=True)]
        found += [Value(name, kind, mean) for name, mean in zip(names, means, strict=True)]
        found += [Level(name, kind, None) for name in names if nulls[name]]
    levels = [name for name in kinds if kinds[name] in LEVELS]
    for name in sorted(levels, key=lambda name: LEVELS.index(kinds[name])):
        kind, value = kinds[name], value_sql(name, kinds[name])
        # a text that SQL cannot write is no level of its own
        told = f"value is not null{' and not contains(value, chr(0))' if kind == 'text' else ''}"
        frequent = _frequent(engine, f"select {value} as value from {relation}", told)
        found += [Level(name, kind, level) for level in sorted(frequent)]
        if nulls[name] or not frequent:
            found.append(Level(name, kind, None))
    return tuple(found)


def _frequent(engine: Engine, values: str, told: str) -> list[Any]:
    """The most frequent values of a query's column `value`, the most frequent first."""
    grouped = f"from ({values}) where {told} group by value"
    if not engine.parts:
        rows = engine.rows(
            f"select value {grouped} having count(*) >= {LEAST_ROWS} order by count(*) desc, value limit {MOST_LEVELS}"
        )
        return [row[0] for row in rows]
    counted = f"select value, count(*) {grouped} order by count(*) desc, value limit {PART_LEVELS}"
    found = [row for row in added(engine.rows(counted), keys=1) if row[1] >= LEAST_ROWS]
    return [value for value, _ in sorted(found, key=lambda row: (-row[1], row[0]))[:MOST_LEVELS]]


def _nulls(
    con: duckdb.DuckDBPyConnection, engine: Engine, exposure: Exposure, publication: Publication
) -> dict[str, int]:
    """How many values of each feature are NULL.

    Of 10 million rows of 11 features the scan takes 0.5 s, and the lake's statistics know that there is none.
    """
    none = publication.without_nulls(con)
    nulls = dict.fromkeys(exposure.kinds, 0)
    if unknown := [name for name in nulls if name not in none]:
        counts = ", ".join(f"count(*) - count({quoted(name)})" for name in unknown)
        (row,) = added(engine.rows(f"select {counts} from {publication.table}"))
        nulls.update(zip(unknown, row, strict=True))
    return nulls


def _check_finite(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> None:
    """See that codes and dates are finite: numbers are seen to be while they are summed."""
    values = {name: value_sql(name, kind) for name, kind in exposure.kinds.items() if kind in ("code", "date")}
    if not values:
        return
    counts = ", ".join(f"count(*) filter (where not isfinite({value}))" for value in values.values())
    (found,) = added(engine.rows(f"select {counts} from {publication.table}"))
    for name, count in zip(values, found, strict=True):
        if count:
            raise RowsError(
                f"{where}: column {name!r} has {count} values that are not finite: only finite ones are allowed; fill "
                "them or filter the rows where the table is made"
            )


def _moments(
    engine: Engine, exposure: Exposure, rows: _Rows, terms: tuple[Term, ...], where: str
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
    engine: Engine, exposure: Exposure, rows: _Rows, terms: tuple[Term, ...], cell: str, where: str
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


def _sample(
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    exposure: Exposure,
    relation: str,
    rows: int,
    answer: str,
    weight: str | None,
) -> pd.DataFrame:
    spec = exposure.spec
    # as text, which SQL casts back to the same value: a frame has no decimals
    key = listed(spec.key_columns, of="published")
    texts = [f"cast(published.{name} as varchar) as {name}" for name in map(quoted, spec.key_columns)]
    labels = [*texts, *(quoted(FOLD[split]) for split in spec.splits)]
    if spec.split == "time":
        labels.append(quoted(MOMENT))
    if weight:
        labels.append(f"{weight} as {quoted(WEIGHT)}")
    labels.append(f'{folds.bucket_sql(*(spec.group,) if spec.group else spec.key_columns)} as "{BLOCK}"')
    for name, value in spec.slices.items():
        labels.append(f"coalesce(cast({value} as varchar), 'none') as {quoted(_slice(name))}")
    sampled = f"where {quoted(SAMPLED)}" if rows > exposure.sample_rows else ""
    kind = "double" if exposure.task == "regression" else "bigint"
    values = f"{read_sql(exposure.kinds)}, cast({quoted(answer)} as {kind}) as {quoted(spec.target)}"
    if not engine.parts:
        return con.execute(
            f"select {', '.join(labels)}, {values} from {relation} as published {sampled} order by {key}"
        ).df()
    parts = pa.concat_tables(
        engine.each(f"select {', '.join(labels)}, {values} from {relation} as published {sampled}", BATCH, table)
    )
    ordered = ", ".join(f"cast({quoted(name)} as {exposure.columns[name]})" for name in spec.key_columns)
    with con.cursor() as local:
        return local.register("parts", parts).execute(f"select * from parts order by {ordered}").df()


def _check_key(sample: pd.DataFrame, exposure: Exposure, where: str) -> None:
    columns = exposure.spec.key_columns
    key = sample[list(columns)]
    wrong = int(key.duplicated().sum()) or int(key.isna().any(axis=1).sum())
    if wrong:
        one = len(columns) == 1
        tests = (
            "the column the dbt tests `unique`" if one else "the table the dbt test `tract.unique_together`, and each"
        )
        raise RowsError(
            f"{where}: the key {', '.join(columns)} is missing or repeated in {wrong} rows. Give {tests} "
            f"{'and' if one else 'column'} `not_null`, so that such a build is not published."
        )
