"""What rows count: a column of numbers above zero, or, where there is none, each row once."""

from ml.arrays import Integers, Mask, Vector
from ml.columns import value_sql
from ml.lake.sql import LARGEST


def weight_sql(column: str) -> str:
    """What a row counts, a double."""
    return value_sql(column, "number")


def usable_sql(column: str) -> str:
    """Whether that is a number above zero: of NaN, DuckDB says that it is greater than all numbers."""
    weight = weight_sql(column)
    return f"{weight} > 0 and {weight} < {LARGEST}"


def taken(weights: Vector | None, rows: Mask | Integers) -> Vector | None:
    """The weights of some rows; None where each row counts once."""
    return None if weights is None else weights[rows]
