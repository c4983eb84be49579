"""What a column is to who learns from it: a number, a date, or one of the two kinds of levels; and how SQL reads it."""

import re
from collections.abc import Mapping
from typing import Literal

from ml.lake.sql import is_numeric, quoted

# A boolean is a number, 0 or 1. A code is a number that is the name of a level, as a postcode.
Kind = Literal["number", "date", "text", "code"]
LEVELS: tuple[Kind, ...] = ("text", "code")

_BOOLEANS = ("BOOLEAN", "BOOL", "LOGICAL")
_DATES = re.compile(r"DATE|TIMESTAMP(_S|_MS|_US|_NS|TZ| WITH TIME ZONE)?|DATETIME")
_TEXTS = re.compile(r"(VARCHAR|TEXT|STRING|CHAR|BPCHAR|NVARCHAR)( ?\(.*\))?|ENUM ?\(.*\)", re.DOTALL)
# A type of each kind, as DuckDB writes it.
TYPES: Mapping[Kind, str] = {"number": "DOUBLE", "date": "TIMESTAMP", "text": "VARCHAR", "code": "DOUBLE"}
_MICROSECONDS_A_DAY = "864e8"


def is_boolean(kind: str) -> bool:
    """Whether a type, as DuckDB or a contract writes it, is true or false."""
    return kind.upper() in _BOOLEANS


def kind_of(kind: str, categorical: bool = False) -> Kind | None:
    """What values of a type, as DuckDB or a contract writes it, are; None where nothing can be learned from them.

    Args:
        categorical: Whether numbers are names of levels.
    """
    if is_numeric(kind) or is_boolean(kind):
        return "code" if categorical else "number"
    if _DATES.fullmatch(kind.upper()):
        return "date"
    return "text" if _TEXTS.fullmatch(kind.upper()) else None


def value_sql(name: str, kind: Kind) -> str:
    """A column's value as the frames of learners hold it: a double, a timestamp in UTC, or a text."""
    kinds = {"date": "timestamp", "text": "varchar"}
    return f"cast({quoted(name)} as {kinds.get(kind, 'double')})"


def number_sql(name: str, kind: Kind) -> str:
    """A column that is no text as a double; a date in days since 1970."""
    value = value_sql(name, kind)
    return f"(epoch_us({value}) / {_MICROSECONDS_A_DAY})" if kind == "date" else value


def read_sql(kinds: Mapping[str, Kind]) -> str:
    """Columns as `value_sql` under their own names, for a select list."""
    return ", ".join(f"{value_sql(name, kind)} as {quoted(name)}" for name, kind in kinds.items())
