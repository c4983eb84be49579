"""Rows without an answer, in SQL and in words."""

import duckdb

from ml import answers


def test_a_row_has_its_answer_where_the_target_is_not_null() -> None:
    with duckdb.connect() as con:
        con.execute('create table t as select unnest([1.0, null, \'nan\'::double]) as "the ""target"""')
        known = answers.known_sql('the "target"')
        query = f"select count(*) filter (where {known}) from t"
        assert con.execute(query).fetchall() == [(2,)]  # NaN is a value, and refused elsewhere


def test_rows_without_an_answer_are_told_and_none_are_not() -> None:
    assert answers.told("y", 0, 10) == ""
    assert answers.told("y", 1_200, 30_000) == (
        "1,200 of 30,000 rows have no y, the target: they are predicted, and not learned from"
    )
