"""Where published rows are read: by this process's DuckDB, or in parts by the tasks of an engine, which run DuckDB too.

Sums, counts and samples are asked for as SQL over the parts, and what comes is merged here: of one part nothing
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import duckdb
import pyarrow as pa

T = TypeVar("T")
Row = tuple[Any, ...]


@runtime_checkable
class Engine(Protocol):
    """What reads published rows."""

    parts: bool

    def rows(self, sql: str) -> list[Row]:
        """The rows that a query gives of each part, one part after the other."""

    def each(self, sql: str, size: int, of: Callable[[Iterable[pa.RecordBatch]], T], ordered: bool = True) -> list[T]:
        """What a function makes of the batches that a query gives of each part; it must be known by its module.

        Args:
            size: Rows of a batch.
            ordered: Whether rows come in the table's order where that costs something.
        """

    def types(self, sql: str) -> dict[str, str]:
        """The columns of a query, their names in small letters, and their types; nothing is read."""


class Here:
    """DuckDB in this process, which has one part: all rows."""

    parts = False

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con = con

    @property
    def threads(self) -> int:
        """Its threads: as many cores may work."""
        ((threads,),) = self.con.execute("select current_setting('threads')").fetchall()
        return int(threads)

    def rows(self, sql: str) -> list[Row]:
        """See `Engine`."""
        return self.con.execute(sql).fetchall()

    def each(self, sql: str, size: int, of: Callable[[Iterable[pa.RecordBatch]], T], ordered: bool = True) -> list[T]:
        """See `Engine`."""
        with _any_order(self.con, ordered):
            return [of(self.con.execute(sql).to_arrow_reader(size))]

    def types(self, sql: str) -> dict[str, str]:
        """See `Engine`."""
        return {str(row[0]).lower(): str(row[1]) for row in self.con.execute(f"describe {sql}").fetchall()}


Source = duckdb.DuckDBPyConnection | Engine


def of(source: Source) -> Engine:
    """The engine that reads: a connection is this process's DuckDB."""
    return source if isinstance(source, Engine) else Here(source)


def table(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """All batches of a part together."""
    assert isinstance(batches, pa.RecordBatchReader)
    return batches.read_all()


def added(rows: Iterable[Row], keys: int = 0) -> list[Row]:
    """Rows whose first columns are equal as one, the other columns added up; NULL adds nothing."""
    found: dict[Row, Row] = {}
    for row in rows:
        key, values = row[:keys], row[keys:]
        found[key] = tuple(map(_plus, found[key], values)) if key in found else values
    return [(*key, *values) for key, values in found.items()]


def _plus(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other


@contextmanager
def _any_order(con: duckdb.DuckDBPyConnection, ordered: bool) -> Iterator[None]:
    if ordered:
        yield
        return
    ((before,),) = con.execute("select current_setting('preserve_insertion_order')").fetchall()
    con.execute("set preserve_insertion_order = false")
    try:
        yield
    finally:
        con.execute(f"set preserve_insertion_order = {before}")
