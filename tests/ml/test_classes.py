"""Few whole values are likely classes; measures, codes and few rows are not."""

import duckdb
import pytest

from ml import classes


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        ("[0, 1, 1, 0]", 2),
        ("[1.0, 2.0, 3.0, null]", 3),
        ("[0.5, 1, 2]", None),
        ("[1, 1001]", None),
        ("[null]::int[]", None),
    ],
)
def test_values_are_counted_where_all_are_whole_and_small(values: str, distinct: int | None) -> None:
    with duckdb.connect() as con:
        found = con.execute(f"select {classes.count_sql('y')} from (select unnest({values}) as y)").fetchall()
    assert found == [(distinct,)]


@pytest.mark.parametrize(
    ("distinct", "rows", "likely"),
    [(None, 100, False), (1, 100, False), (2, 100, True), (20, 40, True), (20, 39, False), (21, 100, False)],
)
def test_a_likely_class_is_told(distinct: int | None, rows: int, likely: bool) -> None:
    told = classes.told("y", distinct, rows)
    assert bool(told) == likely
    if likely:
        assert told.startswith(f"y, the target, has only {distinct} distinct values, all of them whole")
