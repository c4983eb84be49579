"""The same sums of a wide table: by blocks of rows, which DuckDB reads and BLAS multiplies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from scipy.linalg.blas import dsyrk
from threadpoolctl import threadpool_limits

from ml.arrays import Matrix, Vector
from ml.lake.engine import Engine
from ml.linear.sums import Sums, beside_sql, fold_sql
from ml.linear.terms import Term

# Of the rows that BLAS takes at once, which lie in memory twice for a moment. CPU seconds for a million rows of 300
# columns in blocks of 16 MB: 4.7; of 64 MB, which the allocator gives back each time: 5.5.
_BLOCK_BYTES, _LEAST_ROWS, _MOST_ROWS = 16_000_000, 2_048, 65_536


def scan(
    con: Engine,
    relation: str,
    columns: Sequence[Term],
    fold: str | None,
    shift: Vector | Mapping[int, Vector],
    weight: str | None,
) -> dict[int | None, Sums]:
    """The same sums by blocks of rows; a NULL is NaN, and makes its column's sums one.

    DuckDB reads the next block while this one is multiplied. On one thread the sums repeat to the bit: rows come in
    their order then, whatever DuckDB is told. To keep their order on several threads, a million rows of 300 columns
    take 17 s of CPU to read, and lie in memory all at once; 10 s otherwise.
    """
    width = len(columns)
    values = ", ".join(f"{column.sql} as v{i}" for i, column in enumerate(columns))
    rows = min(max(_BLOCK_BYTES // (8 * width), _LEAST_ROWS), _MOST_ROWS)
    query = f"select cast({fold_sql(fold)} as bigint) as fold, {values}{beside_sql(weight, ())} from {relation}"
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

    def as_sums(self) -> Sums:
        upper = np.triu(self.products)
        return Sums(self.n, self.weight, np.full(len(self.sums), self.n), self.sums, upper + np.triu(upper, 1).T)


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
