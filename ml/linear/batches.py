"""Rows of the warehouse as numpy takes them, some at a time: for sums that SQL is slow at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from ml.arrays import Matrix, Vector
from ml.lake import engine
from ml.lake.engine import Source
from ml.linear.terms import Term, is_of_levels, level_codes

# Rows per Arrow batch: 7 MB of 8 features and a target. CPU seconds of leaving one out of 10 million rows by batches of
# 10,000: 3.1; 50,000: 1.4; 200,000: 1.3.
BATCH_ROWS = 100_000
# Columns up to which a batch has so many: of 100 levels, each a column, it would be 80 MB several times over.
BATCH_COLUMNS = 32


T = TypeVar("T")
# The terms less their means, shape (terms, rows), and the values of each expression beside, shape (rows,).
Batch = tuple[Matrix, list[Any]]


def each(
    con: Source,
    relation: str,
    columns: Sequence[Term],
    means: Sequence[float] | Vector,
    of: Callable[[Iterable[Batch]], T],
    beside: Sequence[str] = (),
) -> list[T]:
    """What a function makes of all rows of a table expression in one scan, by batches, in each part of them.

    Args:
        con: Where the relation can be read; DuckDB has one part.
        columns: Terms without NULL; a column's levels are read as one number a row.
        means: Of the terms, which are subtracted.
        of: It takes the batches of a part. Where an engine reads, it must be known by its module, and what it gives
            must be what can be pickled.
        beside: More expressions.
    """
    dense = [place for place, column in enumerate(columns) if not is_of_levels(column)]
    sparse: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if is_of_levels(column):
            sparse.setdefault(column.column, []).append(place)
    read = [*(columns[place].sql for place in dense), *level_codes(columns).values(), *beside]
    values = ", ".join(f"{expression} as v{i}" for i, expression in enumerate(read))
    size = BATCH_ROWS * BATCH_COLUMNS // max(BATCH_COLUMNS, len(columns))
    return engine.of(con).each(
        f"select {values} from {relation}",
        size,
        partial(_made, of=of, dense=dense, sparse=list(sparse.values()), means=np.asarray(means)[: len(columns)]),
    )


def _made(
    batches: Iterable[pa.RecordBatch],
    of: Callable[[Iterable[Batch]], T],
    dense: Sequence[int],
    sparse: Sequence[Sequence[int]],
    means: Vector,
) -> T:
    return of(_centred(batches, dense, sparse, means))


def _centred(
    batches: Iterable[pa.RecordBatch], dense: Sequence[int], sparse: Sequence[Sequence[int]], means: Vector
) -> Iterator[Batch]:
    for batch in batches:
        arrays = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        rows = np.empty((len(means), batch.num_rows))
        for place, array in zip(dense, arrays, strict=False):
            np.subtract(array, means[place], out=rows[place])
        for places, code in zip(sparse, arrays[len(dense) :], strict=False):
            rows[places] = -means[places, None]
            known = np.flatnonzero(code)
            rows[code[known] - 1, known] += 1.0
        yield rows, arrays[len(dense) + len(sparse) :]
