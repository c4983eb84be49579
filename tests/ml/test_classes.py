"""Few whole values are likely classes; measures, codes and few rows are not."""

import duckdb
import pytest

from ml import classes
from ml.classes import Class, array, code_sql, positive, text_of, unfit, unfit_positive


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


@pytest.mark.parametrize(
    ("kind", "values", "classes"),
    [
        ("boolean", "true, false", (False, True)),
        ("bigint", "-3, 9007199254740993, 0", (-3, 0, 9007199254740993)),
        (
            "varchar",
            "'a''b', '', 'null', 'true', 'True', ' x', 'é', chr(10)",
            ("", "\n", " x", "True", "a'b", "null", "true", "é"),
        ),
        ("enum('b', 'a')", "'a', 'b'", ("a", "b")),
    ],
)  # fmt: skip
def test_the_code_of_a_class_is_its_place_and_its_text_is_sql_s(
    kind: str, values: str, classes: tuple[Class, ...]
) -> None:
    with duckdb.connect() as con:
        con.execute(f'create table t as select cast(unnest([{values}]) as {kind}) as "the ""class"""')
        code = code_sql('the "class"', kind.upper(), classes)
        found = con.execute(f'select "the ""class""", cast("the ""class""" as varchar), {code} from t').fetchall()
    assert sorted(row[0] for row in found) == list(classes)
    for value, text, place in found:
        assert (classes[place], text_of(value)) == (value, text)


def test_classes_are_as_learners_take_them() -> None:
    assert array((False, True)).dtype == bool
    assert array((-1, 2)).dtype == "int64"
    assert array(("a", "bc")).tolist() == ["a", "bc"]


def test_of_two_classes_one_is_positive() -> None:
    assert positive(None, (False, True)) is True
    assert positive(None, ("no", "yes")) == "yes"
    assert positive("no", ("no", "yes")) == "no"
    assert positive(None, (1, 2, 3)) is None
    assert unfit_positive("maybe", ("no", "yes")).startswith("meta.ml.positive is 'maybe', which is no class: they are")
    assert unfit_positive(1, (1, 2, 3)).startswith("meta.ml.positive is 1, and there are 3 classes")
    assert unfit_positive("no", ("no", "yes")) == unfit_positive(None, (1, 2, 3)) == ""


def test_one_class_and_too_many_are_refused() -> None:
    assert unfit("y", 1, 7) == "y, the target, is the same class in all of 7 rows: there is nothing to tell apart"
    assert unfit("y", 101, 500).startswith("y, the target, has 101 classes in 500 rows, and at most 100 are learned")
    assert unfit("y", 2, 7) == unfit("y", 100, 700) == ""
