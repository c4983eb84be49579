"""Numbers are told from what only begins like one."""

import duckdb
import pytest

from ml.lake.sql import is_numeric

NUMBERS = [
    "tinyint", "usmallint", "int", "int4", "integer", "uinteger", "bigint", "hugeint", "real", "float", "float8",
    "double", "double precision", "decimal", "decimal(10, 2)", "numeric(10,2)", "long", "short",
]  # fmt: skip
OTHERS = [
    "boolean",
    "interval",
    "integer[]",
    "double[]",
    "varchar",
    "date",
    "timestamp",
    "bit",
    "blob",
    "struct(a int)",
]


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_in_a_contract_is_one_in_duckdb(kind: str) -> None:
    assert is_numeric(kind)
    with duckdb.connect() as con:
        assert is_numeric(str(con.execute(f"select typeof(cast(1 as {kind}))").fetchall()[0][0]))


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_none(kind: str) -> None:
    assert not is_numeric(kind)
