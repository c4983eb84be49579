"""Rows of the warehouse as numpy takes them, some at a time: for sums that SQL is slow at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import numpy as np

from ml.arrays import Matrix, Vector
from ml.linear.terms import Term, is_of_levels, level_codes

# Rows per Arrow batch: 7 MB of 8 features and a target. CPU seconds of leaving one out of 10 million rows by batches of
# 10,000: 3.1; 50,000: 1.4; 200,000: 1.3.
BATCH_ROWS = 100_000
# Columns up to which a batch has so many: of 100 levels, each a column, it would be 80 MB several times over.
BATCH_COLUMNS = 32


def centred(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[Term],
    means: Sequence[float] | Vector,
    beside: Sequence[str] = (),
) -> Iterator[tuple[Matrix, list[Any]]]:
    """All rows of a table expression in one scan, by batches.

    Args:
        columns: Terms without NULL; a column's levels are read as one number a row.
        means: Of the terms, which are subtracted.
        beside: More expressions.

    Yields:
        The terms less their means, shape (terms, rows), and the values of each expression beside, shape (rows,).
    """
    dense = [place for place, column in enumerate(columns) if not is_of_levels(column)]
    sparse: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if is_of_levels(column):
            sparse.setdefault(column.column, []).append(place)
    read = [*(columns[place].sql for place in dense), *level_codes(columns).values(), *beside]
    values = ", ".join(f"{expression} as v{i}" for i, expression in enumerate(read))
    size = BATCH_ROWS * BATCH_COLUMNS // max(BATCH_COLUMNS, len(columns))
    for batch in con.execute(f"select {values} from {relation}").to_arrow_reader(size):
        arrays = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        rows = np.empty((len(columns), batch.num_rows))
        for place, array in zip(dense, arrays, strict=False):
            np.subtract(array, means[place], out=rows[place])
        for places, code in zip(sparse.values(), arrays[len(dense) :], strict=False):
            rows[places] = -np.asarray(means)[places, None]
            known = np.flatnonzero(code)
            rows[code[known] - 1, known] += 1.0
        yield rows, arrays[len(dense) + len(sparse) :]
