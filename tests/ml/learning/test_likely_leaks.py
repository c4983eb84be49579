"""A feature that alone nearly tells the target is found whatever its kind, and one that does not is left alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.arrays import Vector
from ml.columns import Kind
from ml.learning import likely_leaks

ROWS = 2_000
RANDOM = np.random.default_rng(0)
TARGET = RANDOM.lognormal(sigma=1.0, size=ROWS)
CLASSES = np.eye(3)[np.arange(ROWS) % 3]
BLOCKS = RANDOM.integers(0, 1024, ROWS)


def found(values: Any, kind: Kind = "number", target: Vector = TARGET) -> dict[str, float]:
    return likely_leaks.found(pd.DataFrame({"x": values}), {"x": kind}, target, BLOCKS)


@pytest.mark.parametrize(
    ("values", "kind", "target"),
    [
        (1.19 * TARGET + 3, "number", TARGET),
        (TARGET + 0.1 * RANDOM.normal(size=ROWS), "number", TARGET),
        (-np.log(TARGET), "number", np.minimum(TARGET, 8)),
        (pd.Timestamp("2026-01-01") + pd.to_timedelta(np.round(TARGET * 1e6), unit="s"), "date", TARGET),
        (pd.Series(["dear"] * ROWS).where(TARGET > 1, None), "text", (TARGET > 1).astype(float)),
        (np.where(TARGET > 1, 5.0, np.nan), "number", (TARGET > 1).astype(float)),
        (np.array(["x", "y", "z"])[np.arange(ROWS) % 3], "text", CLASSES),
        (np.arange(ROWS) % 3 * 1000.0, "code", CLASSES),
    ],
    ids=["unit", "noise", "curve", "date", "text or NULL", "NULL alone", "classes", "code"],
)
def test_what_nearly_is_the_target_is_found_with_its_share(values: Any, kind: Kind, target: Vector) -> None:
    ((name, share),) = found(values, kind, target).items()
    assert name == "x"
    assert 0.95 <= share <= 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (TARGET + RANDOM.lognormal(sigma=1.0, size=ROWS), "number"),
        ([f"row {i}" for i in range(ROWS)], "text"),
        (np.arange(ROWS), "code"),
        (np.full(ROWS, np.nan), "number"),
        (np.full(ROWS, None), "text"),
        (np.full(ROWS, 7.0), "number"),
    ],
    ids=["half of the target", "names of rows", "codes of rows", "no value", "no text", "constant"],
)
def test_what_does_not_tell_of_rows_unseen_is_not_found(values: Any, kind: Kind) -> None:
    assert found(values, kind) == {}


def test_names_of_groups_tell_nothing_where_groups_are_held_out_whole() -> None:
    group = np.arange(ROWS) % 100
    assert likely_leaks.found(pd.DataFrame({"x": group}), {"x": "code"}, np.sin(group), group) == {}
    assert likely_leaks.found(pd.DataFrame({"x": group}), {"x": "code"}, np.sin(group), BLOCKS)["x"] > 0.99


def test_the_largest_share_comes_first_and_few_rows_say_nothing() -> None:
    rows = pd.DataFrame({"a": TARGET + 0.1 * RANDOM.normal(size=ROWS), "b": TARGET, "c": RANDOM.normal(size=ROWS)})
    kinds: dict[str, Kind] = dict.fromkeys(("a", "b", "c"), "number")
    assert list(likely_leaks.found(rows, kinds, TARGET, BLOCKS)) == ["b", "a"]
    few = slice(0, likely_leaks.LEAST_ROWS - 1)
    assert likely_leaks.found(rows[few], kinds, TARGET[few], BLOCKS[few]) == {}


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), correlation=st.floats(0.1, 0.99))
def test_of_a_line_with_noise_the_share_is_the_squared_correlation(seed: int, correlation: float) -> None:
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=(2, 20_000))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    share = likely_leaks.share(pd.Series(x), "number", y, random.random(len(x)) < 0.5)
    assert share == pytest.approx(correlation**2, abs=0.03)
