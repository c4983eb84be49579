"""Tables that are hard on the numerics, and scikit-learn's ridge of them."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ml.arrays import Vector

ALPHAS = np.logspace(-3, 1, 30)
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)
tables: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n": st.sampled_from([2, 3, 5, 9, 30, 400]),
        "p": st.integers(1, 8),
        "kind": st.sampled_from(["plain", "scales", "offsets", "collinear", "constant", "all constant"]),
    }
)


def make_table(seed: int, n: int, p: int, kind: str) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) @ (np.eye(p) + 0.5 * rng.normal(size=(p, p)))
    y = x @ rng.normal(size=p) + rng.normal(size=n) + 5
    if kind == "scales":
        x = x * 10.0 ** rng.integers(-6, 7, p)
    elif kind == "offsets":
        x = x + 10.0 ** rng.integers(0, 7, p)
    elif kind == "collinear":
        x[:, -1] = x[:, :-1].sum(axis=1)  # constant if it is the only one
    elif kind == "constant":
        x[:, 0] = 0.1
    elif kind == "all constant":
        x[:] = 0.1
    return pd.DataFrame(x, columns=[f"x {i}" for i in range(p)]), pd.Series(y, name="y")


def load(con: duckdb.DuckDBPyConnection, x: pd.DataFrame, **others: Any) -> None:
    frame = x.assign(**others)  # noqa: F841
    con.execute("create or replace table t as select * from frame")


def names(x: pd.DataFrame) -> list[str]:
    return [str(name) for name in x]


def reference(alpha: float = 1.0) -> Pipeline:
    return make_pipeline(StandardScaler(), Ridge(alpha=alpha))


def assert_same_coefficients(ours: Vector, theirs: Vector, tolerance: float) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, np.abs(theirs).max()))


def assert_fitted_alike(ours: Pipeline, theirs: Pipeline) -> None:
    """A pipeline has all that scikit-learn's own fit would have left, of the same types."""
    for mine, other in zip(ours, theirs, strict=True):
        assert {name: type(value) for name, value in vars(mine).items()} == {
            name: type(value) for name, value in vars(other).items()
        }
        assert mine.get_params() == other.get_params()
        check_is_fitted(mine)
    assert repr(ours) == repr(theirs)
