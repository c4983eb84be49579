"""Names, texts and numbers read back as they were; and numbers are told from what only begins like one."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.lake.sql import NESTED, doubles, is_numeric, literal, quoted, summed, table, text

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)

NUMBERS = [
    "tinyint", "usmallint", "int", "int4", "integer", "uinteger", "bigint", "hugeint", "real", "float", "float8",
    "double", "double precision", "decimal", "decimal(10, 2)", "numeric(10,2)", "long", "short", "int64", "uint8",
    "int128", "integral", "oid",
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


@SETTINGS
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_literals_read_back_to_the_same_double(value: float) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"select {literal(value)}").fetchone() == (value,)


@pytest.mark.parametrize("value", [None, "", "'", "it''s", 'a "b" c', "line\nline", "Zürich", "'; drop table t; --"])
def test_texts_read_back(value: str | None) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"select {text(value)}").fetchone() == (value,)


def test_any_name_is_quoted() -> None:
    names = ["a b", 'c"d']
    with duckdb.connect() as con:
        con.execute(f"create table t as select 1::tinyint as {quoted(names[0])}, 2::tinyint as {quoted(names[1])}")
        selected = con.sql(f"select {doubles(names)} from t")
        assert (selected.columns, [str(kind) for kind in selected.types]) == (names, ["DOUBLE", "DOUBLE"])
        assert selected.fetchall() == [(1.0, 2.0)]
    assert table("features.points") == 'lake."features"."points"'


@pytest.mark.parametrize("count", [1, 2, NESTED, NESTED + 1, 3 * NESTED + 7])
def test_a_sum_of_any_length_is_one_expression(count: int) -> None:
    with duckdb.connect() as con:
        assert con.execute(f"select {summed(['1e0'] * count)}").fetchone() == (float(count),)
    assert summed(["a", "b", "c"]) == "(a + b + c)"
