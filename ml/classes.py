"""Classes: which columns may hold them, how SQL counts and reads them; and whether a number looks like them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.columns import is_boolean, kind_of
from ml.lake.sql import is_integer, quoted, text

# As a column of the lake has it, and as the learners see it.
Class = bool | int | str
# Of more, a target is likely no class but a name, a text or a number.
MOST = 100

# Digits, months, grades and answers are at most so many, and codes are rarely larger.
MOST_CLASSES, LARGEST_CODE = 20, 1_000
# Of fewer rows a value, few values are chance.
LEAST_ROWS = 2


def count_sql(target: str) -> str:
    """An aggregate: how many distinct values the column has if all are whole and small, otherwise null.

    Only such values are gathered: of 5 million rows beside eight columns it adds nothing that can be measured, where
    `count(distinct …)` over all values takes 0.9 s.
    """
    value = f"cast({quoted(target)} as double)"
    small = f"{value} = trunc({value}) and abs({value}) <= {LARGEST_CODE}"
    return f"case when bool_and({small}) then count(distinct {quoted(target)}) filter (where {small}) end"


def told(target: str, distinct: int | None, rows: int) -> str:
    """What to say of a target with so many distinct values, all whole and small; empty where it is no likely class."""
    if distinct is None or not 2 <= distinct <= MOST_CLASSES or rows < LEAST_ROWS * distinct:
        return ""
    return (
        f"{target}, the target, has only {distinct} distinct values, all of them whole: they are learned as numbers, "
        "and predictions lie between them. If they are classes, say so: meta.ml.task: classification, with candidates "
        "for them, logistic and gradient_boosting, and another table in meta.ml.predictions"
    )


def are_classes(kind: str) -> bool:
    """Whether a column of a type, as DuckDB or a contract writes it, may hold classes: booleans, texts, integers."""
    return by_nature(kind) or is_integer(kind)


def by_nature(kind: str) -> bool:
    """Whether its values can be nothing but classes."""
    return is_boolean(kind) or kind_of(kind) == "text"


def fits(value: Class, kind: str) -> bool:
    """Whether a class may be of a column of a type that holds classes."""
    return type(value) is (bool if is_boolean(kind) else str if kind_of(kind) == "text" else int)


def stored_as(kind: str) -> str:
    """The type in which the lake keeps predicted classes of a column's type: an enum as text."""
    return "VARCHAR" if kind_of(kind) == "text" else "BOOLEAN" if is_boolean(kind) else kind


def read_sql(target: str, kind: str) -> str:
    """A class as it is: an enum's name as text."""
    return f"cast({quoted(target)} as varchar)" if kind_of(kind) == "text" else quoted(target)


def text_of(value: Class) -> str:
    """A class as SQL casts it to text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def literal(value: Class) -> str:
    """A class as SQL."""
    return text(value) if isinstance(value, str) else text_of(value)


def code_sql(target: str, kind: str, classes: Sequence[Class]) -> str:
    """The place of a row's class among the classes, from 0; NULL of any other."""
    value = read_sql(target, kind)
    cases = " ".join(f"when {literal(one)} then {place}" for place, one in enumerate(classes))
    return f"case {value} {cases} end"


def unfit(target: str, distinct: int, rows: int) -> str:
    """Why a target with so many classes cannot be learned; empty where it can."""
    if distinct == 1:
        return f"{target}, the target, is the same class in all of {rows:,} rows: there is nothing to tell apart"
    if distinct > MOST:
        return (
            f"{target}, the target, has {distinct:,} classes in {rows:,} rows, and at most {MOST} are learned: put the "
            "rare ones together where the table is built, or learn a number (meta.ml.task: regression)"
        )
    return ""


def array(classes: Sequence[Class]) -> npt.NDArray[Any]:
    """Classes as learners take them, shape (classes,): booleans, whole numbers, or texts as objects."""
    return np.array(classes, dtype=object if isinstance(classes[0], str) else None)


def positive(asked: Class | None, classes: Sequence[Class]) -> Class | None:
    """Of two classes, the one whose probability is given; None of more."""
    if len(classes) != 2:
        return None
    return classes[1] if asked is None else asked


def unfit_positive(asked: Class | None, classes: Sequence[Class]) -> str:
    """Why the class that a spec calls positive cannot be; empty where it can, or the spec names none."""
    if asked is None:
        return ""
    if why := unfit_number(asked, len(classes)):
        return why
    if asked not in classes:
        return f"meta.ml.positive is {asked!r}, which is no class: they are {classes[0]!r} and {classes[1]!r}"
    return ""


def unfit_number(asked: Class | None, distinct: int) -> str:
    """The same, by the number of classes alone."""
    if asked is None or distinct == 2:
        return ""
    return f"meta.ml.positive is {asked!r}, and there are {distinct} classes: it is for two, leave it out"
