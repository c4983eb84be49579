"""The eigenbasis of standardized features: by hand, and what is constant or collinear is named."""

from math import sqrt

import duckdb
import numpy as np
import pytest

from ml.linear import ridge
from ml.linear.moments import Moments
from ml.linear.spectrum import NAMED, Spectrum, check_alphas
from tests.ml.linear.tables import reference


def test_two_correlated_columns_by_hand() -> None:
    # a and b have variance 1 and correlation sqrt(1/2) over four rows; y = a + b
    a, b = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, 0.0, -1.0, 0.0]) * sqrt(2)
    spectrum = Spectrum(Moments.of(np.column_stack([a + 10, 3 * b, a + b])))
    correlation = sqrt(2) / 2
    assert spectrum.mean == pytest.approx([10, 0])
    assert spectrum.scale == pytest.approx([1, 3])
    assert spectrum.eigenvalues == pytest.approx([4 * (1 - correlation), 4 * (1 + correlation)])
    assert np.abs(spectrum.vectors) == pytest.approx(np.full((2, 2), sqrt(0.5)))
    assert spectrum.null.shape == (2, 0)
    # least squares finds y; a penalty as large as an eigenvalue halves what lies along its vector
    assert spectrum.coefficients(np.array([1e-12]))[0] == pytest.approx([1, 1])
    assert spectrum.coefficients(spectrum.eigenvalues[1:])[0] == pytest.approx([0.5, 0.5])
    assert spectrum.shrunk(np.array([1.0, 2.0])).shape == (2, 2)
    assert spectrum.notes(["a", "b"]) == ()


def test_a_constant_and_a_double_column_have_no_direction_of_their_own() -> None:
    a = np.array([0.0, 1.0, 2.0, 5.0])
    spectrum = Spectrum(Moments.of(np.column_stack([a, np.full(4, 0.1), 2 * a, a])))
    assert spectrum.constant.tolist() == [False, True, False]
    assert spectrum.eigenvalues == pytest.approx([8])  # n, for each of the two columns
    assert spectrum.null.shape == (3, 2)
    assert spectrum.notes(["a", "one", "twice"])[0] == "column 'one' is constant at 0.1: its coefficient is 0"
    assert len(spectrum.notes(["a", "one", "twice"])) == 2


def test_notes_name_constant_and_collinear_columns(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table t as select *, a + 2 * b as sum, 5.0 as five, -3 * c + 7 as twin, a - c + d + e as y "
        "from (select sin(i) * 100 as a, cos(i * i) as b, sin(i * 3) as c, cos(i * 7) as d, sin(i * 5) as e "
        "from range(500) as r (i))"
    )
    fit = ridge.fit(con, "t", ["sum", "a", "b", "c", "d", "five", "twin"], "y", alphas=[1e-3, 1.0])
    assert fit.rank == 4
    constant, *collinear = fit.notes
    assert constant == "column 'five' is constant at 5: its coefficient is 0"
    assert fit.pipeline[-1].coef_[5] == 0.0
    groups = [{word for word in ("sum", "a", "b", "c", "d", "twin") if f"'{word}'" in note} for note in collinear]
    assert sorted(groups, key=sorted) == sorted([{"sum", "a", "b"}, {"c", "twin"}], key=sorted)
    x, y = con.execute("select * exclude (y, e) from t").df(), con.execute("select y from t").df()["y"]
    x = x[["sum", "a", "b", "c", "d", "five", "twin"]]
    theirs = reference(fit.alpha).fit(x, y)
    np.testing.assert_allclose(fit.pipeline[-1].coef_, theirs[-1].coef_, rtol=1e-9, atol=1e-9)


def test_penalties_are_floats_that_are_positive_and_finite() -> None:
    assert check_alphas(np.array([1, 0.5])) == (1.0, 0.5)
    with pytest.raises(ValueError, match="no alphas were given"):
        check_alphas([])
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"alpha is {wrong}; penalties must be positive and finite"):
            check_alphas([1.0, wrong])


def test_of_many_columns_that_depend_on_each_other_some_are_named_and_all_are_counted() -> None:
    random = np.random.default_rng(0)
    columns = np.column_stack([random.normal(size=(20, 40)), np.ones((20, 15)), random.normal(size=20)])
    notes = Spectrum(Moments.of(columns)).notes([f"x{number}" for number in range(55)])
    assert len(notes) == 2 * (NAMED + 1)
    assert notes[0] == "column 'x40' is constant at 1: its coefficient is 0"
    assert notes[NAMED] == "5 more columns are constant"
    assert notes[NAMED + 1].startswith("column 'x")
    assert "and 9 more: only their joint effect" in notes[NAMED + 1]
    # 20 rows less their mean have 19 directions
    assert notes[-1] == f"{40 - 19 - NAMED} more columns are linear functions of others"
