"""Which of DuckDB's types are numbers that can be learned from."""

import re

_NUMERIC = re.compile(
    r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|INT[1248]?|LONG|SHORT|SIGNED"
    r"|REAL|FLOAT[48]?|DOUBLE( PRECISION)?|(DECIMAL|NUMERIC|DEC)( ?\(.*\))?"
)


def is_numeric(kind: str) -> bool:
    """Whether a type, as DuckDB or a contract writes it, is an integer, a decimal or a float; booleans are not."""
    return _NUMERIC.fullmatch(kind.upper()) is not None
