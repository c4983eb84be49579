"""The numbers that a linear model makes of a table's columns: each an expression of SQL over one column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from ml.columns import LEVELS, Kind, number_sql, value_sql
from ml.lake.sql import literal, quoted, text


@dataclass(frozen=True)
class Value:
    """A column's number, or a date's days since 1970.

    Attributes:
        fill: What stands for NULL; None where there is no NULL.
    """

    column: str
    kind: Kind = "number"
    fill: float | None = None

    @property
    def name(self) -> str:
        """As a person reads it."""
        return self.column

    @property
    def raw_sql(self) -> str:
        """The expression, NULL where the column is."""
        return number_sql(self.column, self.kind)

    @property
    def sql(self) -> str:
        """The expression, a double."""
        return self.raw_sql if self.fill is None else f"coalesce({self.raw_sql}, {literal(self.fill)})"


@dataclass(frozen=True)
class Level:
    """1 where a column is one level, else 0.

    Attributes:
        level: None for NULL.
    """

    column: str
    kind: Kind
    level: str | float | None

    @property
    def name(self) -> str:
        """As a person reads it."""
        return f"{self.column} is {'null' if self.level is None else self.level}"

    @property
    def condition(self) -> str:
        """Whether the column is the level, or NULL where the column is NULL and the level another."""
        if self.level is None:
            return f"{quoted(self.column)} is null"
        value = text(self.level) if isinstance(self.level, str) else literal(self.level)
        return f"{value_sql(self.column, self.kind)} = {value}"

    @property
    def sql(self) -> str:
        """The expression, a double."""
        return f"case when {self.condition} then 1e0 else 0e0 end"


Term = Value | Level


def is_of_levels(term: Term) -> TypeGuard[Level]:
    """Whether a term is one of the levels of a text or a code, of which a row has one at the most."""
    return isinstance(term, Level) and term.kind in LEVELS


def level_codes(of: Sequence[Term]) -> dict[str, str]:
    """Of each column of levels, an expression: the place of its level among the terms, from 1; 0 of any other."""
    cases: dict[str, list[str]] = {}
    for place, term in enumerate(of, start=1):
        if is_of_levels(term):
            cases.setdefault(term.column, []).append(f"when {term.condition} then {place}")
    return {name: f"case {' '.join(some)} else 0 end" for name, some in cases.items()}


def terms(features: Iterable[str | Term]) -> tuple[Term, ...]:
    """Terms; a name is a column of numbers without NULL."""
    return tuple(Value(feature) if isinstance(feature, str) else feature for feature in features)


def are_plain(of: Sequence[Term]) -> bool:
    """Whether all are columns of numbers without NULL, of which a linear model needs no preparation."""
    return all(isinstance(term, Value) and term.kind == "number" and term.fill is None for term in of)
