"""Second moments of a table, by one SQL scan: all that a linear model needs to know of the rows.

`gather` asks DuckDB for n, the sums and the sums of products of `[features..., target]` per fold. `Moments` holds them
centred and adds them up. Nothing here depends on how many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import duckdb
import numpy as np

from ml.arrays import Integers, Matrix, Vector
from ml.errors import TractError
from ml.lake.sql import LARGEST, is_numeric, literal, quoted

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


class UnusableRowsError(TractError, ValueError):
    """The table cannot be learned from; the message names the column, what was found, what is allowed, what to do."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and centred second moments of rows `[x_1, ..., x_p, y]`.

    Attributes:
        n: Number of rows, at least one.
        mean: Of each feature, then of the target, in the columns' own units, shape (p + 1,).
        rest: What rounding took from the mean, shape (p + 1,): `mean + rest` is the mean to more digits than a double
            has. Without it, folds whose means are a million standard deviations from zero would add up to ten digits
            only.
        scatter: Sum over rows of `(row - mean)(row - mean)'`, not divided by n, shape (p + 1, p + 1).
    """

    n: int
    mean: Vector
    rest: Vector
    scatter: Matrix

    @classmethod
    def of(cls, rows: Matrix) -> Moments:
        """Moments of the rows of an array of shape (n, p + 1), by the two-pass algorithm."""
        rows = np.asarray(rows, dtype=np.float64)
        shift = rows.mean(axis=0)
        centred = rows - shift
        off = centred.mean(axis=0)
        mean, rest = _two_sum(shift, off)
        return cls(len(rows), mean, rest, centred.T @ centred - len(rows) * np.outer(off, off))

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of rows together.

        Chan, Golub, LeVeque (1979), 'Updating formulae and a pairwise algorithm for computing sample variances', eq.
        2.1, for covariances.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} columns do not add up")
        n = self.n + other.n
        step = self.step(other)
        mean, rest = _two_sum(self.mean, step * (other.n / n) + self.rest)
        between = np.outer(step, step) * (self.n * (other.n / n))
        return Moments(n, mean, rest, self.scatter + other.scatter + between)

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
    con: duckdb.DuckDBPyConnection,
    relation: str,
    features: Sequence[str],
    target: str,
    fold: str | None = None,
    folds: int | None = None,
) -> dict[int, Moments]:
    """Moments of each fold of a table, in one scan.

    The sums are taken of `x - shift`, the shift being the mean of the first rows, so that means far from zero do not
    cancel the digits of the variances (Chan, Golub, LeVeque 1983, 'Algorithms for computing the sample variance',
    section 3). If a fold turns out to lie far from the shift, one more scan centres each fold on itself.

    Args:
        con: Where `relation` can be read. Nothing is written or left behind.
        relation: Any SQL table expression that gives the same rows each time it is read:
            `lake.features.t at (version => 7)`, or a subquery in parentheses.
        features: Names of p numeric columns; other numbers than doubles are cast to double.
        target: Name of one more.
        fold: SQL expression over the relation's columns giving each row's fold as an integer; None puts all rows in
            fold 0.
        folds: Number of folds expected, numbered from 0. None allows any two or more.

    Returns:
        The moments by fold, in rising order.

    Raises:
        UnusableRowsError: A column is missing or not numeric; NULL, NaN or infinity in a column or NULL in the fold;
            numbers too large to be squared; no rows; fewer rows than folds; an empty fold; only one fold. Nothing is
            ever left out.
    """
    columns = [*features, target]
    _check_columns(con, relation, columns, fold)
    shift = _first_mean(con, relation, columns)
    sums = _scan(con, _centred(relation, columns, fold, shift), len(columns), fold is not None)
    _check_rows(con, relation, columns, sums)
    _check_folds(sums, fold, folds)
    parts = {key: _from_sums(row, shift) for key, row in sums.items() if key is not None}
    if any(_is_far(moments, shift) for moments in parts.values()):
        shifts = {key: moments.mean for key, moments in parts.items()}
        sums = _scan(con, _centred_by_fold(relation, columns, fold, shifts), len(columns), True)
        parts = {key: _from_sums(row, shifts[key]) for key, row in sums.items() if key is not None}
    return dict(sorted(parts.items()))


@dataclass(frozen=True, eq=False)
class _Sums:
    """One fold's row of the scan: rows, non-NULL values per column, sums, sums of products (p + 1, p + 1)."""

    n: int
    values: Integers
    sums: Vector
    products: Matrix


def _centred(relation: str, columns: Sequence[str], fold: str | None, shift: Vector) -> str:
    """Select `fold` and the columns less their shift, as v0, v1, ..."""
    values = ", ".join(
        f"cast({quoted(name)} as double) - {literal(s)} as v{i}"
        for i, (name, s) in enumerate(zip(columns, shift, strict=True))
    )
    return f"select {_fold(fold)} as fold, {values} from {relation}"


def _centred_by_fold(relation: str, columns: Sequence[str], fold: str | None, shifts: Mapping[int, Vector]) -> str:
    """Select the same with a shift of its own for each fold."""
    rows = ", ".join(f"({key}, {', '.join(map(literal, shift))})" for key, shift in shifts.items())
    names = ", ".join(f"s{i}" for i in range(len(columns)))
    raw = ", ".join(f"cast({quoted(name)} as double) as v{i}" for i, name in enumerate(columns))
    values = ", ".join(f"v{i} - s{i} as v{i}" for i in range(len(columns)))
    return (
        f"select fold, {values} from (select {_fold(fold)} as fold, {raw} from {relation}) as r "
        f"join (values {rows}) as shifts (shift_fold, {names}) on r.fold = shifts.shift_fold"
    )


def _fold(fold: str | None) -> str:
    return "0" if fold is None else f"({fold})"


def _sums_sql(centred: str, width: int, by_fold: bool) -> str:
    """One row per fold: n, counts, sums, products of the upper triangle.

    CPU seconds for 10 million rows of 8 features and a target on one thread: the bare sums of products, unshifted and
    with neither fold nor counts, take 2.7; this takes 2.9, and by fold 3.2 (3.9 if the fold is an expression whose
    range DuckDB does not know). Counting costs 0.1. Rejected: grouping by a constant 4.8, fsum (Kahan) for sum 4.3,
    covar_pop 4.5, one filtered sum per fold 252.
    """
    counts = [f"count(v{i})" for i in range(width)]
    sums = [f"sum(v{i})" for i in range(width)]
    products = [f"sum(v{i} * v{j})" for i, j in _triangle(width)]
    aggregates = ", ".join(["count(*)", *counts, *sums, *products])
    if not by_fold:
        return f"select 0, {aggregates} from ({centred}) as c"
    return f"select fold, {aggregates} from ({centred}) as c group by fold"


def _triangle(width: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(width) for j in range(i, width)]


def _scan(con: duckdb.DuckDBPyConnection, centred: str, width: int, by_fold: bool) -> dict[int | None, _Sums]:
    rows = con.execute(_sums_sql(centred, width, by_fold)).fetchall()
    return {row[0]: _parse(row, width) for row in rows}


def _parse(row: tuple[object, ...], width: int) -> _Sums:
    numbers = np.array([np.nan if x is None else x for x in row[2:]], dtype=np.float64)
    products = np.zeros((width, width))
    products[np.triu_indices(width)] = numbers[2 * width :]
    products = products + np.triu(products, 1).T
    return _Sums(int(str(row[1])), numbers[:width].astype(np.int64), numbers[width : 2 * width], products)


def _from_sums(sums: _Sums, shift: Vector) -> Moments:
    off = sums.sums / sums.n
    scatter = sums.products - sums.n * np.outer(off, off)
    np.fill_diagonal(scatter, np.maximum(np.diag(scatter), 0.0))  # rounding may leave a constant at -1e-30
    return Moments(sums.n, *_two_sum(shift, off), scatter)


def _is_far(moments: Moments, shift: Vector) -> bool:
    return bool(np.any(moments.n * (moments.mean - shift) ** 2 > _MAX_SHIFT_VARIANCES * np.diag(moments.scatter)))


def _first_mean(con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> Vector:
    """The mean of each column over the first rows; if it is constant there, its value, so that deviations are zeros."""
    raw = ", ".join(f"cast({quoted(name)} as double) as v{i}" for i, name in enumerate(columns))
    finite = [f"filter (where abs(v{i}) < {literal(LARGEST)})" for i in range(len(columns))]  # false for NaN, too
    means = ", ".join(
        f"case when min(v{i}) {f} = max(v{i}) {f} then min(v{i}) {f} else avg(v{i}) {f} end"
        for i, f in enumerate(finite)
    )
    row = con.execute(f"select {means} from (select {raw} from {relation} limit {_SHIFT_ROWS}) as c").fetchone()
    return np.array([0.0 if x is None else x for x in row or ()], dtype=np.float64)


def _check_columns(con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], fold: str | None) -> None:
    *features, target = columns
    if not features:
        raise UnusableRowsError("no features were given: name at least one numeric column")
    for name in columns:
        if columns.count(name) > 1:
            role = "both a feature and the target" if name == target else "a feature twice"
            raise UnusableRowsError(f"column {name!r} is {role}: name each column once")
    types = _types(con, f"select * from {relation}")
    for name in columns:
        if name.lower() not in types:
            raise UnusableRowsError(f"column {name!r} is not in {relation}, which has {', '.join(types)}")
        if not is_numeric(types[name.lower()]):
            raise UnusableRowsError(
                f"column {name!r} is {types[name.lower()]}; integers, decimals and floats are allowed: "
                "cast or encode it where it is made, or leave it out of the features"
            )
    if fold is not None and (kind := _types(con, f"select ({fold}) as fold from {relation}")["fold"]) not in _INTEGERS:
        raise UnusableRowsError(f"the fold ({fold}) is {kind}; an integer is allowed: cast it to integer")


def _types(con: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    return {str(row[0]).lower(): str(row[1]) for row in con.execute(f"describe {query}").fetchall()}


def _check_rows(
    con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], sums: Mapping[int | None, _Sums]
) -> None:
    """Check that every value took part in the sums.

    A count shows NULLs; one NaN or infinity makes its column's sum of squares one.
    """
    if not any(row.n for row in sums.values()):
        raise UnusableRowsError(f"{relation} has no rows: at least one is needed; is the upstream model empty?")
    if any(np.any(row.values < row.n) or not np.all(np.isfinite(row.products)) for row in sums.values()):
        raise UnusableRowsError(_describe_bad_values(con, relation, columns))


def _describe_bad_values(con: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]) -> str:
    """Count what did not sum, by column, in a scan of its own: only a bad table pays for it."""
    raw = ", ".join(f"cast({quoted(name)} as double) as v{i}" for i, name in enumerate(columns))
    infinity = "cast('infinity' as double)"
    counts = ", ".join(
        f"count(*) - count(v{i}), count(*) filter (where isnan(v{i})), count(*) filter (where abs(v{i}) = {infinity}), "
        f"count(*) filter (where abs(v{i}) >= {literal(LARGEST)} and abs(v{i}) < {infinity})"
        for i in range(len(columns))
    )
    row = con.execute(f"select {counts} from (select {raw} from {relation}) as c").fetchone() or ()
    descriptions, large = [], []
    for i, name in enumerate(columns):
        bad = row[4 * i : 4 * i + 3]
        large.extend([(name, row[4 * i + 3])] if row[4 * i + 3] else [])
        kinds = [f"{n} {kind}" for n, kind in zip(bad, ("NULL", "NaN", "infinite"), strict=True) if n]
        if kinds:
            descriptions.append(f"column {name!r} has {' and '.join(kinds)} value{'s' if sum(bad) > 1 else ''}")
    if not descriptions:
        where = ", ".join(f"{name!r} ({rows} rows)" for name, rows in large) or ", ".join(map(repr, columns))
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
