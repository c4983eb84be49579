"""Sums of the columns of a table and of their products, by fold, as DuckDB makes them in one scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ml.arrays import Integers, Matrix, Vector
from ml.lake.engine import Engine, added
from ml.lake.sql import literal
from ml.linear.moments import Moments, two_sum
from ml.linear.terms import Term, is_of_levels


@dataclass(frozen=True, eq=False)
class Sums:
    """One fold's row of the scan: rows, their weight, non-NULL values per column, sums and sums of products, weighted,
    (p + 1,) and (p + 1, p + 1).
    """

    n: int
    weight: float
    values: Integers
    sums: Vector
    products: Matrix


def moments_of(sums: Sums, shift: Vector) -> Moments:
    """The moments of rows whose sums, less a shift, these are."""
    off = sums.sums / sums.weight
    scatter = sums.products - sums.weight * np.outer(off, off)
    np.fill_diagonal(scatter, np.maximum(np.diag(scatter), 0.0))  # rounding may leave a constant at -1e-30
    return Moments(sums.n, *two_sum(shift, off), scatter, sums.weight)


def centred_sql(
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
    beside = beside_sql(weight, codes)
    return f"select {fold_sql(fold)} as fold, {values}{beside} from {relation}"


def beside_sql(weight: str | None, codes: Sequence[str]) -> str:
    """The end of a list to select: a weight as w, codes as c0, c1, ..."""
    weighed = "" if weight is None else f", {weight} as w"
    return weighed + "".join(f", {code} as c{i}" for i, code in enumerate(codes))


def centred_by_fold_sql(
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
        f"(select {fold_sql(fold)} as fold, {raw}{beside_sql(weight, codes)} from {relation}) as r "
        f"join (values {rows}) as shifts (shift_fold, {names}) on r.fold = shifts.shift_fold"
    )


def fold_sql(fold: str | None) -> str:
    """The fold of a row, 0 where there are none."""
    return "0" if fold is None else f"({fold})"


def sums_sql(centred: str, width: int, by_fold: bool, weighted: bool = False) -> str:
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


def parsed(row: tuple[object, ...], width: int) -> Sums:
    """The sums that a row of `sums_sql` holds."""
    numbers = np.array([np.nan if x is None else x for x in row[3:]], dtype=np.float64)
    products = np.zeros((width, width))
    products[np.triu_indices(width)] = numbers[2 * width :]
    products = products + np.triu(products, 1).T
    return Sums(
        int(str(row[1])), float(str(row[2])), numbers[:width].astype(np.int64), numbers[width : 2 * width], products
    )


def with_levels(
    con: Engine,
    centred: str,
    columns: Sequence[Term],
    coded: Sequence[str],
    sums: Mapping[int | None, Sums],
    weighted: bool,
) -> dict[int | None, Sums]:
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
        key: Sums(
            row.n,
            row.weight,
            np.full(width, row.n),
            placed(row.sums, places, width),
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


def placed(values: Vector, places: Sequence[int], width: int) -> Vector:
    """Values at their places among zeros."""
    placed = np.zeros(width)
    placed[places] = values
    return placed


def _in_square(products: Matrix, places: Sequence[int], width: int) -> Matrix:
    placed = np.zeros((width, width))
    placed[np.ix_(places, places)] = products
    return placed
