"""Moments of a table by fold, in one scan: n, the sums and the sums of products of `[features..., target]`.

DuckDB makes them as SQL; of a wide table it gives the rows, a block at a time, which BLAS multiplies. Nothing here
depends on how many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ml.arrays import Mask, Vector
from ml.columns import kind_of
from ml.errors import TractError
from ml.lake import engine
from ml.lake.engine import Engine, Source, added
from ml.lake.sql import LARGEST, literal
from ml.linear import blocks
from ml.linear.moments import Moments
from ml.linear.sums import Sums, centred_by_fold_sql, centred_sql, moments_of, parsed, placed, sums_sql, with_levels
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


class UnusableRowsError(TractError, ValueError):
    """The table cannot be learned from; the message names the column, what was found, what is allowed, what to do."""


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
    parts = {key: moments_of(sums[key], shift) for key, shift in shifts.items()}
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
            centred_sql(relation, dense, fold, shift, weight, list(codes.values()))
            if one_for_all
            else centred_by_fold_sql(relation, dense, fold, shifts, weight, list(codes.values()))
        )
        sums = with_levels(con, centred, columns, list(codes), sums, weight is not None)
        places = [i for i, column in enumerate(columns) if not is_of_levels(column)]
        shifts = {key: placed(shift, places, len(columns)) for key, shift in shifts.items()}
    return {key: moments_of(sums[key], shifts[key]) for key in sorted(shifts)}


def _scan(
    con: Engine,
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shift: Vector | Mapping[int, Vector],
    weight: str | None,
) -> dict[int | None, Sums]:
    """The sums of the columns less a shift, one for all folds or one for each."""
    width = len(columns)
    if width > SQL_COLUMNS:
        return blocks.scan(con, relation, columns, fold, shift, weight)
    by_fold = fold is not None
    if isinstance(shift, Mapping):
        by_fold, centred = True, centred_by_fold_sql(relation, columns, fold, shift, weight)
    else:
        centred = centred_sql(relation, columns, fold, shift, weight)
    rows = added(con.rows(sums_sql(centred, width, by_fold, weight is not None)), keys=1)
    return {row[0]: parsed(row, width) for row in rows}


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


def _check_rows(con: Engine, relation: str, columns: Sequence[Term], sums: Mapping[int | None, Sums]) -> None:
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


def _check_folds(sums: Mapping[int | None, Sums], fold: str | None, folds: int | None) -> None:
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
