"""The fingerprint of published rows: the same in any order, another for whatever else changes."""

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.records import publications
from tests.bench import lakes

COLUMNS = {"k": "varchar", "x": "double", "n": "integer"}


cells = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    st.none() | st.floats(allow_nan=False).map(lambda x: x + 0.0),  # -0.0 and 0.0 are equal, and hash alike
    st.none() | st.integers(-(2**31), 2**31 - 1),
)


tables = st.lists(cells, max_size=30)


def fingerprint(rows: list[tuple[Any, ...]], columns: dict[str, str] = COLUMNS, threads: int = 1) -> tuple[str, int]:
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute(f"create table t ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
        if rows:
            con.executemany(f"insert into t values ({', '.join('?' * len(columns))})", rows)
        found = con.execute(publications.fingerprint_sql("t as published")).fetchone()
    assert found is not None
    return found


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(tables.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_equal_rows_in_any_order_are_equal(both: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]) -> None:
    rows, shuffled = both
    assert fingerprint(rows) == fingerprint(shuffled)
    assert fingerprint(rows)[1] == len(rows)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(tables.filter(bool), st.data())
def test_another_value_in_any_cell_is_seen(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, 2))
    changed = list(rows)
    changed[row] = tuple(
        other if at == column else old
        for at, (old, other) in enumerate(zip(rows[row], data.draw(cells), strict=True))
    )  # fmt: skip
    same = changed[row] == rows[row]
    assert (fingerprint(changed) == fingerprint(rows)) == same


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(tables.filter(bool), st.data())
def test_a_duplicate_and_a_missing_row_are_seen(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows))
    fewer = list(rows)
    fewer.remove(row)
    assert len({fingerprint(rows), fingerprint([*rows, row]), fingerprint(fewer)}) == 3


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(cells, cells)
def test_a_value_that_moves_to_another_row_is_seen(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    swapped = [(one[0], other[1], one[2]), (other[0], one[1], other[2])]
    same = sorted(map(repr, swapped)) == sorted(map(repr, [one, other]))
    assert (fingerprint([one, other]) == fingerprint(swapped)) == same


@pytest.mark.parametrize(
    "columns",
    [
        {"k": "varchar", "z": "double", "n": "integer"},
        {"k": "varchar", "x": "float", "n": "integer"},
        {"k": "varchar", "x": "double", "n": "bigint"},
        {"k": "varchar", "n": "double", "x": "integer"},
    ],
    ids=["renamed", "narrower", "wider", "names swapped"],
)
def test_another_schema_is_seen_even_without_rows(columns: dict[str, str]) -> None:
    assert fingerprint([], columns) != fingerprint([])
    assert fingerprint([("a", 1.0, 1)], columns) != fingerprint([("a", 1.0, 1)])


def test_the_number_of_threads_and_the_order_do_not_matter_for_a_million_rows() -> None:
    made = "create table t as select i::varchar as k, sqrt(i) as x, i::integer as n from range(1_000_000) as t(i)"
    found = set()
    for threads, order in ((1, "i"), (2, "i desc"), (4, "hash(i)")):
        with duckdb.connect(config={"threads": threads}) as con:
            con.execute(f"{made} order by {order}")
            found.update(con.execute(publications.fingerprint_sql("t as published")).fetchall())
    ((_, rows),) = found
    assert rows == 1_000_000


CHANGES = {
    "as made": (["create table lake.features.points as select 1 as id, 2 as a, 3 as b"], "id a b"),
    "a NULL": (["insert into lake.features.points values (3, null, 3), (5, 5, 5)"], "id b"),
    "the NULL deleted, its file there": (["delete from lake.features.points where id = 3"], "id b"),
    "all rewritten": (["create or replace table lake.features.points as from lake.features.points"], "id a b"),
    "a column added": (["alter table lake.features.points add column c integer"], "id a b"),
    "a row with it": (["insert into lake.features.points values (4, 4, 4, 4)"], "id a b"),
    "all rewritten with it": (
        ["create or replace table lake.features.points as select * replace (0 as c) from lake.features.points"],
        "id a b c",
    ),
    "no rows": (["create or replace table lake.features.points as from lake.features.points limit 0"], ""),
}  # fmt: skip


def test_which_columns_have_no_null_is_known_without_the_rows(con: duckdb.DuckDBPyConnection) -> None:
    published = {}
    for name, (statements, _) in CHANGES.items():
        published[name] = publications.publication(con, lakes.publish(con, statements, name))
    found = {name: one.without_nulls(con) for name, one in published.items() if one}
    # of each snapshot, whatever came after it
    assert found == {name: set(columns.split()) for name, (_, columns) in CHANGES.items()}
