"""The engine as a reader of published rows: its tasks run DuckDB over their parts, and answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cached_property, partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from ml.lake.engine import Here, Row
from ml.lake.sql import listed, quoted
from ml.spark import tables, tasks
from ml.spark.session import EngineError, session

T = TypeVar("T")


class Spark:
    """An `ml.lake.engine.Engine` for one table at one snapshot.

    Each question has a session of its own: a server that was started again between two is none the worse.

    Args:
        con: The lake, which binds queries and lists files; it reads no row.
        relation: As `schema.table`, like the next two.
        snapshot: Of the lake.
        table: How queries name the rows, as `Publication.table`.
    """

    parts = True

    def __init__(self, con: duckdb.DuckDBPyConnection, relation: str, snapshot: int, table: str) -> None:
        self.con, self.relation, self.snapshot, self.table = con, relation, snapshot, table

    @cached_property
    def columns(self) -> dict[str, str]:
        """The table's columns, and their types in DuckDB."""
        return tables.types(self.con, self.relation, self.snapshot)

    def rows(self, sql: str) -> list[Row]:
        """See `Engine`."""
        return [row for part in self._asked(sql, partial(tasks.rows_of, self.of_published(sql))) for row in part]

    def each(self, sql: str, size: int, of: Callable[[Iterable[pa.RecordBatch]], T], ordered: bool = True) -> list[T]:
        """See `Engine`."""
        return self._asked(sql, partial(tasks.each_of, self.of_published(sql), size, of))

    def types(self, sql: str) -> dict[str, str]:
        """See `Engine`."""
        return Here(self.con).types(sql)

    def of_published(self, sql: str) -> str:
        """A query of the table as one of `published`, a task's part of it.

        Raises:
            EngineError: It reads the table never, or more than once: a part passes once.
        """
        if (times := sql.count(self.table)) != 1:
            raise EngineError(f"A query reads {self.relation} {times} times, and an engine's parts pass once: {sql}")
        return sql.replace(self.table, "published")

    def frame(self, spark: Any, sql: str) -> tuple[Any, dict[str, str]]:
        """The rows as the engine's frame, with the columns alone that a query may mean; and these with their types."""
        frame = tables.frame(self.con, spark, self.relation, self.snapshot)
        named = {word.lower() for word in re.findall(r"\w+", sql)}
        odd = {name for name in self.columns if not re.fullmatch(r"\w+", name) and quoted(name) in sql}
        wanted = {name: kind for name, kind in self.columns.items() if name.lower() in named or name in odd}
        # of a count of rows, some column
        wanted = wanted or dict([next(iter(self.columns.items()))])
        if frame is None:
            frame = spark.createDataFrame([], tables.ddl(wanted, self.relation))
        return frame.select(*[f"`{name}`" for name in wanted]), wanted

    def of_parts(self, sql: str, columns: Collection[str] | None = None) -> list[Row]:
        """The rows that a query of `published` gives of each part.

        Args:
            columns: Names in small letters, the columns that it reads among them; None is all of them.
        """
        wanted = [name for name in self.columns if columns is None or name.lower() in columns]
        return [row for part in self._asked(listed(wanted), partial(tasks.rows_of, sql)) for row in part]

    def distinct(self, sql: str) -> int:
        """How many distinct rows a query gives, of all parts together."""
        query, ddl = self.of_published(sql), tables.ddl(self.types(sql), self.relation)
        with session() as spark:
            frame, columns = self.frame(spark, sql)
            made = frame.mapInArrow(partial(tasks.stream, query, tasks.packages(), columns), ddl)
            return int(made.distinct().count())

    def _asked(self, naming: str, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> list[T]:
        with session() as spark:
            frame, columns = self.frame(spark, naming)
            found = frame.mapInArrow(tasks.answering(columns, ask), tasks.ANSWER).collect()
        answers: list[T] = tasks.answers(found)
        if not answers:
            raise EngineError(f"The engine gave no answer of {self.relation}: {naming}")
        return answers
