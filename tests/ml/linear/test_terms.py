"""A term is an expression over one column, whatever its name and its values."""

from datetime import date

import duckdb
import pytest

from ml.linear.terms import Level, Term, Value, are_plain, terms

NAME = 'the "order", of März'


@pytest.mark.parametrize(
    ("kind", "values", "term", "numbers"),
    [
        ("double", [1.5, None], Value(NAME, fill=7.0), [1.5, 7.0]),
        ("boolean", [True, False], Value(NAME), [1.0, 0.0]),
        ("date", [date(1970, 1, 3), None], Value(NAME, "date", -1.0), [2.0, -1.0]),
        ("varchar", ["it's", "a", None], Level(NAME, "text", "it's"), [1.0, 0.0, 0.0]),
        ("varchar", ["a", None], Level(NAME, "text", None), [0.0, 1.0]),
        ("integer", [3, 4, None], Level(NAME, "code", 3.0), [1.0, 0.0, 0.0]),
    ],
)
def test_each_kind_has_its_number(kind: str, values: list[object], term: Term, numbers: list[float]) -> None:
    with duckdb.connect() as con:
        quoted = '"' + NAME.replace('"', '""') + '"'
        con.execute(f"create table t (place integer, {quoted} {kind})")
        con.executemany("insert into t values (?, ?)", list(enumerate(values)))
        found = con.execute(f"select {term.sql} from t order by place").fetchall()
    assert found == [(number,) for number in numbers]


def test_names_are_columns_of_numbers_without_null() -> None:
    assert terms(["a", Level("b", "text", "x")]) == (Value("a"), Level("b", "text", "x"))
    assert are_plain(terms(["a", "b"]))
    assert not are_plain((Value("a", fill=0.0),))
    assert not are_plain((Value("a", "date"),))
    assert not are_plain((Level("a", "text", None),))
