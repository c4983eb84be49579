"""What is learned all the same is told where it may not be what is meant."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.learning import notes
from tests.ml.conftest import POINTS
from tests.ml.rows import frame, trained_on


def noted(rows: pd.DataFrame, **spec: object) -> tuple[str, ...]:
    return notes.of_rows(trained_on(rows, replace(POINTS, spec=POINTS.spec.model_copy(update=spec))))


def test_of_ordinary_rows_there_is_nothing_to_say() -> None:
    assert noted(frame()) == ()


@pytest.mark.parametrize(
    ("y", "distinct"),
    [([0, 1, 2], 3), ([3, 4, 5, 6, 7, 8, 9], 7), ([0.5, 1, 2], None), (range(21), None), ([1001, 1002], None)],
)
def test_a_target_that_looks_like_classes_is_noted(y: list[float], distinct: int | None) -> None:
    note = (
        f"y, the target, has only {distinct} distinct values, all of them whole: they are learned as numbers, "
        "and predictions lie between them. If they are classes, say so: meta.ml.task: classification, with candidates "
        "for them, logistic and gradient_boosting, and another table in meta.ml.predictions"
    )
    assert noted(frame().assign(y=np.resize(list(y), 200).astype(float))) == ((note,) if distinct else ())


def test_too_few_rows_for_the_intervals_asked_for_are_noted() -> None:
    (note,) = noted(frame(8), folds=2)
    assert note.startswith("intervals reach as far as the largest error of 8 rows, which is less than 0.9 asks for")


def test_a_constant_target_and_a_column_that_knows_the_target_are_noted() -> None:
    rows = frame()
    assert noted(rows.assign(y=7.5)) == ("y, the target, is 7.5 in every row: there is nothing to learn",)
    known = (
        "a alone tells 100.0% of y, the target, of rows not seen: is it known when there is something to predict? If "
        "not, name it in meta.ml.features.exclude",
    )
    assert noted(rows.assign(y=1000 - 3 * rows["a"])) == known
    assert noted(rows.assign(y=rows["a"] + 3 * rows["b"])) == ()


def test_rows_that_stand_in_several_folds_are_noted() -> None:
    rows = frame(200)
    repeated = pd.concat([rows, rows[:20].assign(id=[f"again {number}" for number in range(20)])])
    (note,) = noted(repeated)
    found = re.match(r"(\d+) of 220 rows are the same, but for their key, as a row of another fold: held out", note)
    assert found
    # a copy is in its row's fold one time in five
    assert 20 <= int(found[1]) <= 40
    assert noted(repeated, split="group") == ()  # where their group is one
    assert noted(rows.assign(a=1.0, b=2.0, y=np.resize([0.5, 1.5], 200))) == ()  # a few levels, which new rows have too


def test_a_few_repeated_rows_are_not_worth_a_word() -> None:
    rows = frame(400)
    assert noted(pd.concat([rows, rows[:1].assign(id="again")])) == ()
