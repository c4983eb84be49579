"""What a task of the engine does: DuckDB runs our own SQL over the task's part of the rows, as Arrow batches.

Everything here is imported by the engine's workers, which need Tract and its packages at the same versions.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from itertools import chain
from typing import Any, TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa

from ml.lake import IN_UTC
from ml.lake.engine import Here, Row
from ml.lake.sql import quoted

T = TypeVar("T")
# What decides a task's numbers.
PACKAGES = ("duckdb", "scikit-learn", "joblib")
# Bytes of an answer that travel at a time; gRPC takes messages of 4 MB without being asked.
CHUNK = 2_000_000
# Rows of a batch that a task gives.
ROWS = 100_000
ALL = 2**63 - 1
ANSWER = "part string, place int, content binary"
_ANSWER = pa.schema([("part", pa.string()), ("place", pa.int32()), ("content", pa.binary())])


@cache
def packages() -> dict[str, str]:
    """The versions of what computes."""
    return {name: version(name) for name in PACKAGES}


@contextmanager
def published(
    batches: Iterable[pa.RecordBatch], columns: Mapping[str, str], wanted: Mapping[str, str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in which a task's rows are `published`, to be read once, with the lake's own types.

    Args:
        columns: Of the rows, with types.
        wanted: Versions of packages, as the one who asks has them.

    Raises:
        RuntimeError: The worker has others.
    """
    if (found := packages()) != wanted:
        raise RuntimeError(
            f"the engine's worker has {_listed(found)}, and {_listed(wanted)} are needed: install Tract's lock there"
        )
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute(IN_UTC)
        pieces = iter(batches)
        first = next(pieces, None)
        if first is None:
            made = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
            con.execute(f"create temp table published ({made})")
        else:
            con.register("arrived", pa.RecordBatchReader.from_batches(first.schema, chain([first], pieces)))
            cast = ", ".join(f"cast({quoted(name)} as {kind}) as {quoted(name)}" for name, kind in columns.items())
            # DuckDB gives conditions to pyarrow, to which NaN is greater than nothing; through a limit it gives none
            con.execute(f"create temp view published as select {cast} from arrived limit {ALL}")
        yield con


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def rows_of(sql: str, con: duckdb.DuckDBPyConnection) -> list[Row]:
    """The rows of a query."""
    return Here(con).rows(sql)


def each_of(sql: str, size: int, of: Callable[[Iterable[pa.RecordBatch]], T], con: duckdb.DuckDBPyConnection) -> T:
    """What a function makes of the batches of a query."""
    (made,) = Here(con).each(sql, size, of)
    return made


def answering(
    columns: Mapping[str, str], ask: Callable[[duckdb.DuckDBPyConnection], Any]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A task for `mapInArrow`: one answer for its part, in pieces."""
    return partial(_answer, columns, packages(), ask)


def _answer(
    columns: Mapping[str, str],
    wanted: Mapping[str, str],
    ask: Callable[[duckdb.DuckDBPyConnection], Any],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    with published(batches, columns, wanted) as con:
        content = pickle.dumps(ask(con))
    part = str(uuid4())
    for place, begin in enumerate(range(0, len(content), CHUNK)):
        row = {"part": part, "place": place, "content": content[begin : begin + CHUNK]}
        yield pa.RecordBatch.from_pylist([row], schema=_ANSWER)


def answers(rows: Iterable[Any]) -> list[Any]:
    """The answers of all parts, of the rows that their tasks gave."""
    pieces: dict[str, dict[int, bytes]] = {}
    for part, place, content in rows:
        pieces.setdefault(part, {})[place] = bytes(content)
    # our own: the engine is trusted with the rows, and with code
    return [pickle.loads(b"".join(found[place] for place in sorted(found))) for found in pieces.values()]


def stream(
    sql: str, wanted: Mapping[str, str], columns: Mapping[str, str], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A task for `mapInArrow`, all but its batches given: the rows that a query makes of its part."""
    with published(batches, columns, wanted) as con:
        yield from con.execute(sql).to_arrow_reader(ROWS)
