"""Batches of rows are the terms' own values."""

import duckdb
import numpy as np
import pytest

from ml.linear import batches
from ml.linear.terms import Level, Term, Value


def test_batches_have_every_row_once_and_levels_as_ones_and_zeros(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 1000)
    con.execute(
        "create table t as select i, nullif(i % 5, 3) as x, case i % 4 when 0 then 'a' when 1 then 'b' when 2 then 'c' "
        "end as s from range(5000) as r (i)"
    )
    terms: list[Term] = [
        Value("x", fill=9.0),
        Level("x", "number", None),
        Level("s", "text", "a"),
        Level("s", "text", "c"),
        Level("s", "text", None),
    ]
    means = [0.5, 0.25, 0.0, 0.125, 1.0]
    (found,) = batches.each(con, "t", terms, means, list, ["i", "i % 7"])
    assert len(found) > 1
    rows = np.hstack([part for part, _ in found])
    i = np.concatenate([beside[0] for _, beside in found])
    assert (np.sort(i) == np.arange(5000)).all()
    assert (np.concatenate([beside[1] for _, beside in found]) == i % 7).all()
    expected = [np.where(i % 5 == 3, 9, i % 5), i % 5 == 3, i % 4 == 0, i % 4 == 2, i % 4 == 3]
    for row, values, mean in zip(rows, expected, means, strict=True):
        np.testing.assert_array_equal(row, values.astype(float) - mean)
