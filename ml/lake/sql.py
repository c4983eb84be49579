"""SQL as text: identifiers, texts and numbers quoted in one place, and which types and values are usable numbers."""

import re
from collections.abc import Iterable, Sequence

_INTEGERS = r"U?(TINYINT|SMALLINT|INTEGER|BIGINT)|INT[1248]?|U?INT(8|16|32|64)|LONG|SHORT|SIGNED|INTEGRAL|OID"
_OTHER_NUMBERS = r"REAL|FLOAT[48]?|DOUBLE( PRECISION)?|(DECIMAL|NUMERIC|DEC)( ?\(.*\))?"
_NUMERIC = re.compile(rf"{_INTEGERS}|{_OTHER_NUMBERS}|U?(HUGEINT|INT128)")
# What parquet keeps as it is: it makes doubles of 128 bits and forgets a TIMETZ's zone; intervals all have one hash.
_KEYS = re.compile(
    rf"{_INTEGERS}|{_OTHER_NUMBERS}|(VARCHAR|TEXT|STRING|CHAR|BPCHAR|NVARCHAR)( ?\(.*\))?|UUID|GUID|DATE|TIME"
    r"|TIMESTAMP(_S|_MS|_US|_NS|TZ| WITH TIME ZONE)?|DATETIME|BLOB|BYTEA|BINARY|VARBINARY"
)

# What 64 bits with a sign hold.
_WHOLE = re.compile(r"U?(TINYINT|SMALLINT|INTEGER)|BIGINT|INT[1248]?|INT(8|16|32|64)|UINT(8|16|32)|LONG|SHORT|SIGNED")

# Summands of one sum; those have brackets, casts and differences of their own.
NESTED = 500

# From here on a double cannot be squared and summed.
LARGEST = 1e150


def is_numeric(kind: str) -> bool:
    """Whether a type, as DuckDB or a contract writes it, is an integer, a decimal or a float; booleans are not."""
    return _NUMERIC.fullmatch(kind.upper()) is not None


def is_integer(kind: str) -> bool:
    """Whether a type, as DuckDB or a contract writes it, is an integer that 64 bits with a sign hold."""
    return _WHOLE.fullmatch(kind.upper()) is not None


def is_key(kind: str) -> bool:
    """Whether values of a type, as DuckDB or a contract writes it, tell rows apart and come back as they were."""
    return _KEYS.fullmatch(kind.upper()) is not None


def quoted(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str], of: str = "") -> str:
    """`names` as quoted SQL identifiers, for a list of columns; of a table or an alias where one is named."""
    prefix = f"{of}." if of else ""
    return ", ".join(f"{prefix}{quoted(name)}" for name in names)


def doubles(names: Iterable[str]) -> str:
    """Columns as SQL's doubles under their own names, for a select list."""
    return ", ".join(f"cast({quoted(name)} as double) as {quoted(name)}" for name in names)


def summed(summands: Sequence[str]) -> str:
    """A sum as an expression in brackets, from the left as Python adds.

    Beyond `NESTED` summands a sum of sums: each + is one level deeper, and DuckDB allows 1,000
    (`max_expression_depth`).
    """
    if len(summands) <= NESTED:
        return f"({' + '.join(summands)})"
    return summed([summed(summands[begin : begin + NESTED]) for begin in range(0, len(summands), NESTED)])


def literal(value: float) -> str:
    """`value` as SQL that reads back to the same double.

    The cast is of a string: a bare `0.12345678901234567` is a DECIMAL, whose cast to double may miss by an ulp.
    """
    return f"cast('{float(value)!r}' as double)"


def text(value: str | None) -> str:
    """A text as a literal of SQL; `null` for None."""
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def table(relation: str) -> str:
    """A relation `schema.table` of the lake as a table expression."""
    schema, name = relation.split(".", 1)
    return f"lake.{quoted(schema)}.{quoted(name)}"
