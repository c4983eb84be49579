"""Second moments of a table, by one scan: all that a linear model needs to know of the rows.

`gather` asks DuckDB for n, the sums and the sums of products of `[features..., target]` per fold; of a wide table it
asks for the rows, a block at a time, which BLAS multiplies. `Moments` holds the sums centred and adds them up. Nothing
here depends on how many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import combinations
from operator import add

import numpy as np
import pyarrow as pa
from scipy.linalg.blas import dsyrk
from threadpoolctl import threadpool_limits

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.columns import kind_of
from ml.errors import TractError
from ml.lake import engine
from ml.lake.engine import Engine, Source, added
from ml.lake.sql import LARGEST, literal
from ml.linear.terms import Level, Term, Value, is_of_levels, level_codes, terms

_INTEGERS = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")) | {
    "INTEGER",
    "UINTEGER",
}
# Rows that the shift is taken from. Their mean is good enough for nearly every table and costs 0.03 s at 10 million
# rows; the exact mean would cost a scan of its own (1.7 s beside the 2.8 s of the sums, one thread).
_SHIFT_ROWS = 10_000
# A fold may lie this many of its own variances (5 standard deviations, squared) from the shift. At the limit, 1.4 of
# the 13 or so digits of a sum over 10 million doubles cancel; beyond it `gather` scans again, from each fold's mean.
_MAX_SHIFT_VARIANCES = 25.0


# Columns up to which DuckDB makes the products: an expression for each pair, which it plans and computes one by one.
# CPU seconds for 500,000 rows in 25 folds, as SQL and by blocks: of 12 columns 0.15 and 0.17, of 24 0.51 and 0.29, of
# 48 3.3 and 0.6.
SQL_COLUMNS = 16
# Of the rows that BLAS takes at once, which lie in memory twice for a moment. CPU seconds for a million rows of 300
# columns in blocks of 16 MB: 4.7; of 64 MB, which the allocator gives back each time: 5.5.
_BLOCK_BYTES, _LEAST_ROWS, _MOST_ROWS = 16_000_000, 2_048, 65_536


class UnusableRowsError(TractError, ValueError):
    """The table cannot be learned from; the message names the column, what was found, what is allowed, what to do."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, weight, mean and centred second moments of rows `[x_1, ..., x_p, y]`.

    Attributes:
        n: Number of rows, at least one.
        mean: Of each feature, then of the target, in the columns' own units, shape (p + 1,).
        rest: What rounding took from the mean, shape (p + 1,): `mean + rest` is the mean to more digits than a double
            has. Without it, folds whose means are a million standard deviations from zero would add up to ten digits
            only.
        scatter: Sum over rows of `(row - mean)(row - mean)'`, not divided by the weight, shape (p + 1, p + 1).
        weight: For how many rows they stand: each for one, or for its weight. Mean and scatter are so weighted.
    """

    n: int
    mean: Vector
    rest: Vector
    scatter: Matrix
    weight: float = field(default=0.0)

    def __post_init__(self) -> None:
        if not self.weight:
            object.__setattr__(self, "weight", float(self.n))

    @classmethod
    def of(cls, rows: Matrix, weights: Vector | None = None) -> Moments:
        """Moments of the rows of an array of shape (n, p + 1), by the two-pass algorithm.

        Args:
            weights: Above zero, shape (n,); None where each row stands for itself.
        """
        rows = np.asarray(rows, dtype=np.float64)
        weight = float(len(rows) if weights is None else weights.sum())
        shift = np.average(rows, axis=0, weights=weights)
        centred = rows - shift
        off = np.average(centred, axis=0, weights=weights)
        mean, rest = _two_sum(shift, off)
        weighted = centred if weights is None else centred * weights[:, None]
        return cls(len(rows), mean, rest, weighted.T @ centred - weight * np.outer(off, off), weight)

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of rows together.

        Chan, Golub, LeVeque (1979), 'Updating formulae and a pairwise algorithm for computing sample variances', eq.
        2.1, for covariances.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} columns do not add up")
        weight = self.weight + other.weight
        step = self.step(other)
        mean, rest = _two_sum(self.mean, step * (other.weight / weight) + self.rest)
        between = np.outer(step, step) * (self.weight * (other.weight / weight))
        return Moments(self.n + other.n, mean, rest, self.scatter + other.scatter + between, weight)

    def mapped(self, change: Matrix) -> Moments:
        """The moments of `change row` of each row; `change` has shape (p' + 1, p + 1)."""
        scatter = change @ self.scatter @ change.T
        return Moments(self.n, change @ self.mean, change @ self.rest, scatter, self.weight)

    def of_columns(self, columns: Sequence[int]) -> Moments:
        """The moments of some columns and the target."""
        chosen = [*columns, len(self.mean) - 1]
        scatter = self.scatter[np.ix_(chosen, chosen)]
        return Moments(self.n, self.mean[chosen], self.rest[chosen], scatter, self.weight)

    def step(self, other: Moments) -> Vector:
        """The other's mean less this one's, shape (p + 1,)."""
        result: Vector = (other.mean - self.mean) + (other.rest - self.rest)
        return result


def _two_sum(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """`a + b` rounded, and exactly what rounding took: Knuth's TwoSum."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def total(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts together, of which there is at least one."""
    return reduce(add, parts)


def complement(folds: Mapping[int, Moments], without: int) -> Moments:
    """The moments of every fold but `without`, summed: subtracting one from the whole would cancel digits."""
    return total(moments for fold, moments in sorted(folds.items()) if fold != without)


def gather(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    fold: str | None = None,
    folds: int | None = None,
    weight: str | None = None,
) -> dict[int, Moments]:
    """Moments of each fold of a table, in one scan.

    The sums are taken of `x - shift`, the shift being the mean of the first rows, so that means far from zero do not
    cancel the digits of the variances (Chan, Golub, LeVeque 1983, 'Algorithms for computing the sample variance',
    section 3). If a fold turns out to lie far from the shift, one more scan centres each fold on itself.

    Args:
        con: Where `relation` can be read, DuckDB or an engine. Nothing is written or left behind.
        relation: Any SQL table expression that gives the same rows each time it is read:
            `lake.features.t at (version => 7)`, or a subquery in parentheses.
        features: Names of p numeric columns, or terms; other numbers than doubles are cast to double.
        target: Name of one more.
        fold: SQL expression over the relation's columns giving each row's fold as an integer; None puts all rows in
            fold 0.
        folds: Number of folds expected, numbered from 0. None allows any two or more.
        weight: SQL expression for what each row stands for, a double above zero; None where each stands for itself.

    Returns:
        The moments by fold, in rising order.

    Raises:
        UnusableRowsError: A column is missing or not numeric; NULL, NaN or infinity in a column or NULL in the fold;
            numbers too large to be squared; no rows; fewer rows than folds; an empty fold; only one fold. Nothing is
            ever left out.
    """
    columns = [*terms(features), Value(target)]
    con = engine.of(con)
    _check_columns(con, relation, columns, fold)
    dense = [column for column in columns if not is_of_levels(column)]
    shift = _first_mean(con, relation, dense)
    sums = _scan(con, relation, dense, fold, shift, weight)
    _check_rows(con, relation, dense, sums)
    _check_folds(sums, fold, folds)
    shifts = {key: shift for key in sums if key is not None}
    parts = {key: _from_sums(sums[key], shift) for key, shift in shifts.items()}
    # of NULLs, ones and zeros, the sums are whole numbers, which lose nothing: one that never occurs has no variance
    values = np.array([isinstance(column, Value) for column in dense])
    one_for_all = not any(_is_far(moments, shift, values) for moments in parts.values())
    if one_for_all and len(dense) == len(columns):
        return {key: parts[key] for key in sorted(parts)}
    if not one_for_all:
        shifts = {key: np.where(values, moments.mean, 0.0) for key, moments in parts.items()}
        sums = _scan(con, relation, dense, fold, shifts, weight)
    if len(dense) < len(columns):
        codes = level_codes(columns)
        centred = (
            _centred(relation, dense, fold, shift, weight, list(codes.values()))
            if one_for_all
            else _centred_by_fold(relation, dense, fold, shifts, weight, list(codes.values()))
        )
        sums = _with_levels(con, centred, columns, list(codes), sums, weight is not None)
        places = [i for i, column in enumerate(columns) if not is_of_levels(column)]
        shifts = {key: _placed(shift, places, len(columns)) for key, shift in shifts.items()}
    return {key: _from_sums(sums[key], shifts[key]) for key in sorted(shifts)}


def _placed(values: Vector, places: Sequence[int], width: int) -> Vector:
    """Values at their places among zeros."""
    placed = np.zeros(width)
    placed[places] = values
    return placed


def _with_levels(
    con: Engine,
    centred: str,
    columns: Sequence[Term],
    coded: Sequence[str],
    sums: Mapping[int | None, _Sums],
    weighted: bool,
) -> dict[int | None, _Sums]:
    """The sums of all columns, of those that are without levels: what is missing are counts and sums by level.

    One more scan groups by each column of levels and by each pair of them. Products of ones and zeros instead take 26 s
    for a million rows and 100 levels; this takes 0.3 s.
    """
    places = [i for i, column in enumerate(columns) if not is_of_levels(column)]
    names = [f"c{i}" for i in range(len(coded))]
    sets = ", ".join(f"(fold, {', '.join(some)})" for size in (1, 2) for some in combinations(names, size))
    totals = ", ".join(f"sum({'w * ' if weighted else ''}v{i})" for i in range(len(places)))
    count_sql = "sum(w)" if weighted else "count(*)"
    grouped = added(
        con.rows(
            f"select fold, {', '.join(names)}, {count_sql}, {totals} from ({centred}) as c "
            f"group by grouping sets ({sets})"
        ),
        keys=1 + len(names),
    )
    width = len(columns)
    found = {
        key: _Sums(
            row.n,
            row.weight,
            np.full(width, row.n),
            _placed(row.sums, places, width),
            _in_square(row.products, places, width),
        )
        for key, row in sums.items()
    }
    for key, *row in grouped:
        levels = [code - 1 for code in row[: len(coded)] if code is not None]
        if min(levels) < 0:  # a level that is not told apart
            continue
        of, count = found[key], row[len(coded)]
        if len(levels) == 2:
            of.products[levels[0], levels[1]] = of.products[levels[1], levels[0]] = count
            continue
        (level,) = levels
        of.sums[level] = of.products[level, level] = count
        of.products[level, places] = of.products[places, level] = row[len(coded) + 1 :]
    return found


def _in_square(products: Matrix, places: Sequence[int], width: int) -> Matrix:
    placed = np.zeros((width, width))
    placed[np.ix_(places, places)] = products
    return placed


@dataclass(frozen=True, eq=False)
class _Sums:
    """One fold's row of the scan: rows, their weight, non-NULL values per column, sums and sums of products, weighted,
    (p + 1,) and (p + 1, p + 1).
    """

    n: int
    weight: float
    values: Integers
    sums: Vector
    products: Matrix


def _centred(
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shift: Vector,
    weight: str | None = None,
    codes: Sequence[str] = (),
) -> str:
    """Select `fold` and the columns less their shift, as v0, v1, ..., a weight as w, and codes, as c0, c1, ..."""
    values = ", ".join(
        f"{column.sql} - {literal(s)} as v{i}" for i, (column, s) in enumerate(zip(columns, shift, strict=True))
    )
    beside = _beside(weight, codes)
    return f"select {_fold(fold)} as fold, {values}{beside} from {relation}"


def _beside(weight: str | None, codes: Sequence[str]) -> str:
    weighed = "" if weight is None else f", {weight} as w"
    return weighed + "".join(f", {code} as c{i}" for i, code in enumerate(codes))


def _centred_by_fold(
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shifts: Mapping[int, Vector],
    weight: str | None = None,
    codes: Sequence[str] = (),
) -> str:
    """Select the same with a shift of its own for each fold."""
    rows = ", ".join(f"({key}, {', '.join(map(literal, shift))})" for key, shift in shifts.items())
    names = ", ".join(f"s{i}" for i in range(len(columns)))
    raw = ", ".join(f"{column.sql} as v{i}" for i, column in enumerate(columns))
    beside = ("" if weight is None else ", w") + "".join(f", c{i}" for i in range(len(codes)))
    values = ", ".join(f"v{i} - s{i} as v{i}" for i in range(len(columns)))
    return (
        f"select fold, {values}{beside} from "
        f"(select {_fold(fold)} as fold, {raw}{_beside(weight, codes)} from {relation}) as r "
        f"join (values {rows}) as shifts (shift_fold, {names}) on r.fold = shifts.shift_fold"
    )


def _fold(fold: str | None) -> str:
    return "0" if fold is None else f"({fold})"


def _sums_sql(centred: str, width: int, by_fold: bool, weighted: bool = False) -> str:
    """One row per fold: n, the weight, counts, sums, products of the upper triangle.

    CPU seconds for 10 million rows of 8 features and a target on one thread: the bare sums of products, unshifted and
    with neither fold nor counts, take 2.7; this takes 2.9, and by fold 3.2 (3.9 if the fold is an expression whose
    range DuckDB does not know). Counting costs 0.1. Rejected: grouping by a constant 4.8, fsum (Kahan) for sum 4.3,
    covar_pop 4.5, one filtered sum per fold 252.
    """
    by = "w * " if weighted else ""
    counts = [f"count(v{i})" for i in range(width)]
    sums = [f"sum({by}v{i})" for i in range(width)]
    products = [f"sum({by}v{i} * v{j})" for i, j in _triangle(width)]
    aggregates = ", ".join(["count(*)", "sum(w)" if weighted else "count(*)", *counts, *sums, *products])
    if not by_fold:
        return f"select 0, {aggregates} from ({centred}) as c"
    return f"select fold, {aggregates} from ({centred}) as c group by fold"


def _triangle(width: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(width) for j in range(i, width)]


def _scan(
    con: Engine,
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shift: Vector | Mapping[int, Vector],
    weight: str | None,
) -> dict[int | None, _Sums]:
    """The sums of the columns less a shift, one for all folds or one for each."""
    width = len(columns)
    if width > SQL_COLUMNS:
        return _scan_blocks(con, relation, columns, fold, shift, weight)
    by_fold = fold is not None
    if isinstance(shift, Mapping):
        by_fold, centred = True, _centred_by_fold(relation, columns, fold, shift, weight)
    else:
        centred = _centred(relation, columns, fold, shift, weight)
    rows = added(con.rows(_sums_sql(centred, width, by_fold, weight is not None)), keys=1)
    return {row[0]: _parse(row, width) for row in rows}


def _scan_blocks(
    con: Engine,
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shift: Vector | Mapping[int, Vector],
    weight: str | None,
) -> dict[int | None, _Sums]:
    """The same sums by blocks of rows; a NULL is NaN, and makes its column's sums one.

    DuckDB reads the next block while this one is multiplied. On one thread the sums repeat to the bit: rows come in
    their order then, whatever DuckDB is told. To keep their order on several threads, a million rows of 300 columns
    take 17 s of CPU to read, and lie in memory all at once; 10 s otherwise.
    """
    width = len(columns)
    values = ", ".join(f"{column.sql} as v{i}" for i, column in enumerate(columns))
    rows = min(max(_BLOCK_BYTES // (8 * width), _LEAST_ROWS), _MOST_ROWS)
    query = f"select cast({_fold(fold)} as bigint) as fold, {values}{_beside(weight, ())} from {relation}"
    parts = con.each(query, rows, partial(_blocks, width=width, shift=shift), ordered=False)
    found = parts[0]
    for part in parts[1:]:
        for key, block in part.items():
            found.setdefault(key, _Block.none(width)).join(block)
    # one at a time: of 2,000 columns, the products of each are 32 MB
    return {key: found.pop(key).as_sums() for key in list(found)}


def _blocks(
    batches: Iterable[pa.RecordBatch], width: int, shift: Vector | Mapping[int, Vector]
) -> dict[int | None, _Block]:
    """The sums of each fold, of batches of `fold, v0, v1, ...`; the next one is read while this one is multiplied."""
    found: dict[int | None, _Block] = {}
    # BLAS's own threads wait for each other at each block, 10 s of CPU for 1
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(1) as pool:
        last: Future[None] | None = None
        for batch in batches:
            if last:
                last.result()
            last = pool.submit(_add_block, found, batch, width, shift)
        if last:
            last.result()
    return found


@dataclass(eq=False)
class _Block:
    """The sums of one fold's rows so far: of products the upper triangle, in Fortran's order."""

    n: int
    weight: float
    sums: Vector
    products: Matrix

    @classmethod
    def none(cls, width: int) -> _Block:
        return cls(0, 0.0, np.zeros(width), np.zeros((width, width), order="F"))

    def add(self, rows: Matrix) -> None:
        """Add rows of shape (columns, rows), or (columns and their weight, rows): what BLAS takes for columns."""
        width = len(self.sums)
        self.n += rows.shape[1]
        if len(rows) == width:
            self.weight += rows.shape[1]
            self.sums += rows.sum(axis=1)
        else:
            weights, rows = rows[width], rows[:width]
            self.weight += weights.sum()
            self.sums += rows @ weights
            rows = rows * np.sqrt(weights)
        self.products = dsyrk(1.0, rows.T, beta=1.0, c=self.products, trans=1, overwrite_c=1)

    def join(self, other: _Block) -> None:
        """Add the sums of other rows."""
        self.n += other.n
        self.weight += other.weight
        self.sums += other.sums
        self.products += other.products

    def as_sums(self) -> _Sums:
        upper = np.triu(self.products)
        return _Sums(self.n, self.weight, np.full(len(self.sums), self.n), self.sums, upper + np.triu(upper, 1).T)


def _add_block(
    found: dict[int | None, _Block], batch: pa.RecordBatch, width: int, shift: Vector | Mapping[int, Vector]
) -> None:
    """Add a batch of `fold, v0, v1, ...`, and perhaps a weight, to the sums of its folds, less their shift."""
    folds = batch.column(0).dictionary_encode(null_encoding="encode")
    keys, code = folds.dictionary.to_pylist(), folds.indices.to_numpy()
    ends = np.cumsum(np.bincount(code, minlength=len(keys)))
    places = np.split(np.argsort(code, kind="stable"), ends[:-1])
    # an array a fold: BLAS would copy a part of one for all
    parts = [np.empty((batch.num_columns - 1, len(rows))) for rows in places]
    shifts = [shift.get(key, np.zeros(width)) if isinstance(shift, Mapping) else shift for key in keys]
    for i, column in enumerate(batch.columns[1:]):
        values = column.to_numpy(zero_copy_only=False)
        for part, rows, less in zip(parts, places, shifts, strict=True):
            of_fold = values if len(parts) == 1 else np.take(values, rows, out=part[i], mode="clip")
            if i < width:
                np.subtract(of_fold, less[i], out=part[i])
            elif len(parts) == 1:
                part[i] = of_fold
    for key, part in zip(keys, parts, strict=True):
        found.setdefault(key, _Block.none(width)).add(part)


def _parse(row: tuple[object, ...], width: int) -> _Sums:
    numbers = np.array([np.nan if x is None else x for x in row[3:]], dtype=np.float64)
    products = np.zeros((width, width))
    products[np.triu_indices(width)] = numbers[2 * width :]
    products = products + np.triu(products, 1).T
    return _Sums(
        int(str(row[1])), float(str(row[2])), numbers[:width].astype(np.int64), numbers[width : 2 * width], products
    )


def _from_sums(sums: _Sums, shift: Vector) -> Moments:
    off = sums.sums / sums.weight
    scatter = sums.products - sums.weight * np.outer(off, off)
    np.fill_diagonal(scatter, np.maximum(np.diag(scatter), 0.0))  # rounding may leave a constant at -1e-30
    return Moments(sums.n, *_two_sum(shift, off), scatter, sums.weight)


def _is_far(moments: Moments, shift: Vector, values: Mask) -> bool:
    far = moments.weight * (moments.mean - shift) ** 2 > _MAX_SHIFT_VARIANCES * np.diag(moments.scatter)
    return bool(np.any(far & values))


def _first_mean(con: Engine, relation: str, columns: Sequence[Term]) -> Vector:
    """The mean of each column over the first rows; if it is constant there, its value, so that deviations are zeros.

    Of a level it is 0.
    """
    raw = ", ".join(f"{'0e0' if isinstance(c, Level) else c.sql} as v{i}" for i, c in enumerate(columns))
    first = f"select {raw} from {relation} limit {_SHIFT_ROWS}"
    if len(columns) > SQL_COLUMNS:  # each filter copies all columns: of 300, 11 s of CPU
        firsts = con.each(first, _SHIFT_ROWS, engine.table)
        # of some part that has rows: any shift that is near will do
        some = next((table for table in firsts if table.num_rows), firsts[0])
        return np.array([_middle(column.to_numpy()) for column in some.columns])
    finite = [f"filter (where abs(v{i}) < {literal(LARGEST)})" for i in range(len(columns))]  # false for NaN, too
    means = ", ".join(
        f"case when min(v{i}) {f} = max(v{i}) {f} then min(v{i}) {f} else avg(v{i}) {f} end"
        for i, f in enumerate(finite)
    )
    found = con.rows(f"select {means} from ({first}) as c")
    row = next((row for row in found if any(x is not None for x in row)), found[0])
    return np.array([0.0 if x is None else x for x in row], dtype=np.float64)


def _middle(values: Vector) -> float:
    """What `_first_mean` takes of a column's values, shape (rows,)."""
    usable = values[np.abs(values) < LARGEST]  # NaN is not
    if not len(usable):
        return 0.0
    return float(usable[0] if usable.min() == usable.max() else usable.mean())


def _check_columns(con: Engine, relation: str, columns: Sequence[Term], fold: str | None) -> None:
    *features, target = columns
    if not features:
        raise UnusableRowsError("no features were given: name at least one numeric column")
    names = [column.column for column in columns if isinstance(column, Value)]
    for name in names:
        if names.count(name) > 1:
            role = "both a feature and the target" if name == target.column else "a feature twice"
            raise UnusableRowsError(f"column {name!r} is {role}: name each column once")
    types = con.types(f"select * from {relation}")
    for column in columns:
        name, kind = column.column, types.get(column.column.lower())
        if kind is None:
            raise UnusableRowsError(f"column {name!r} is not in {relation}, which has {', '.join(types)}")
        if kind_of(kind, categorical=column.kind == "code") != column.kind:
            allowed = {"number": "integers, decimals and floats", "code": "numbers", "date": "dates and timestamps"}
            raise UnusableRowsError(
                f"column {name!r} is {kind}; {allowed.get(column.kind, 'texts')} are allowed: "
                "cast or encode it where it is made, or leave it out of the features"
            )
    if fold is not None and (kind := con.types(f"select ({fold}) as fold from {relation}")["fold"]) not in _INTEGERS:
        raise UnusableRowsError(f"the fold ({fold}) is {kind}; an integer is allowed: cast it to integer")


def _check_rows(con: Engine, relation: str, columns: Sequence[Term], sums: Mapping[int | None, _Sums]) -> None:
    """Check that every value took part in the sums.

    A count shows NULLs; one NaN or infinity makes its column's sum of squares one.
    """
    if not any(row.n for row in sums.values()):
        raise UnusableRowsError(f"{relation} has no rows: at least one is needed; is the upstream model empty?")
    if any(np.any(row.values < row.n) or not np.all(np.isfinite(row.products)) for row in sums.values()):
        raise UnusableRowsError(_describe_bad_values(con, relation, columns))


def _describe_bad_values(con: Engine, relation: str, columns: Sequence[Term]) -> str:
    """Count what did not sum, by column, in a scan of its own: only a bad table pays for it."""
    values = [column for column in columns if isinstance(column, Value)]
    raw = ", ".join(f"{value.raw_sql} as v{i}" for i, value in enumerate(values))
    infinity = "cast('infinity' as double)"
    counts = ", ".join(
        f"{0 if value.fill is not None else f'count(*) - count(v{i})'}, "
        f"count(*) filter (where isnan(v{i})), count(*) filter (where abs(v{i}) = {infinity}), "
        f"count(*) filter (where abs(v{i}) >= {literal(LARGEST)} and abs(v{i}) < {infinity})"
        for i, value in enumerate(values)
    )
    (row,) = added(con.rows(f"select {counts} from (select {raw} from {relation}) as c"))
    descriptions, large = [], []
    for i, name in enumerate(value.name for value in values):
        bad = row[4 * i : 4 * i + 3]
        large.extend([(name, row[4 * i + 3])] if row[4 * i + 3] else [])
        kinds = [f"{n} {kind}" for n, kind in zip(bad, ("NULL", "NaN", "infinite"), strict=True) if n]
        if kinds:
            descriptions.append(f"column {name!r} has {' and '.join(kinds)} value{'s' if sum(bad) > 1 else ''}")
    if not descriptions:
        where = ", ".join(f"{name!r} ({rows} rows)" for name, rows in large) or ", ".join(
            repr(value.name) for value in values
        )
        return (
            f"numbers in {where} are too large to be squared and summed (beyond about "
            f"{LARGEST:g}): state them in a larger unit"
        )
    listed = "; ".join(descriptions)
    return f"{listed}: only finite numbers are allowed; fill them or filter the rows where the table is made"


def _check_folds(sums: Mapping[int | None, _Sums], fold: str | None, folds: int | None) -> None:
    if fold is None:
        return
    if None in sums:
        raise UnusableRowsError(
            f"the fold ({fold}) is NULL for {sums[None].n} rows; every row needs one: fill in the column it is made of"
        )
    keys = sorted(key for key in sums if key is not None)
    rows = sum(row.n for row in sums.values())
    if folds is not None and rows < folds:
        raise UnusableRowsError(f"{rows} rows are fewer than the {folds} folds asked for: ask for at most {rows} folds")
    if len(keys) < 2:
        raise UnusableRowsError(
            f"all {rows} rows are in one fold, {keys[0]}; at least two are needed to learn from one and judge "
            "by another: is there only one group?"
        )
    if folds is not None and (empty := sorted(set(range(folds)) - set(keys))):
        raise UnusableRowsError(
            f"no rows are in fold {', '.join(map(str, empty))} of the {folds} asked for: ask for fewer folds, "
            "or make more groups"
        )
    if folds is not None and (odd := sorted(set(keys) - set(range(folds)))):
        raise UnusableRowsError(
            f"the fold ({fold}) gives {', '.join(map(str, odd))}; 0 to {folds - 1} are allowed: take it modulo {folds}"
        )
