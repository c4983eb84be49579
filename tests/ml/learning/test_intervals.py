"""Intervals cover new rows at their level, are wider where errors are larger, and mean the same as SQL."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.learning import intervals
from ml.learning.intervals import ExpectedError, Spread


def rows(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, predictions and true values, whose error grows with `a`."""
    random = np.random.default_rng(seed)
    features = pd.DataFrame({"a": random.uniform(0, 10, count), "b": random.normal(size=count)})
    predicted = 50 + 3 * features["a"].to_numpy()
    return features, predicted, predicted + (0.5 + features["a"].to_numpy()) * random.normal(size=count)


def folds(count: int) -> np.ndarray:
    """Five, dealt by turns."""
    return np.arange(count) % 5


@pytest.mark.parametrize(("level", "expected"), [(0.5, 5.0), (0.8, 8.0), (0.9, 9.0), (0.99, 9.0)])
def test_the_quantile_is_the_conformal_one(level: float, expected: float) -> None:
    scores = [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]  # nine of them: ranks ceil(10 level), at most 9
    assert intervals.conformal_quantile(scores, level) == expected


@pytest.mark.parametrize(("rows", "level", "needed"), [(9, 0.9, None), (8, 0.9, 9), (98, 0.99, 99), (1, 0.5, None)])
def test_too_few_rows_for_a_level_are_said(rows: int, level: float, needed: int | None) -> None:
    said = needed and (
        f"intervals reach as far as the largest error of {rows} rows, which is less than {level} asks for "
        f"(meta.ml.coverage): that takes {needed} rows"
    )
    assert intervals.too_few(rows, level) == (said or "")
    # with as many rows as that, the quantile is one of the scores by its rank, and not for want of a larger one
    assert ((rows + 1) * level > rows + 1e-9) == bool(needed)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_new_rows_are_covered_at_the_level_and_more_evenly_than_by_one_width(level: float) -> None:
    spread = intervals.fit(*rows(4000, 0), folds(4000), level)
    features, predicted, actual = rows(20_000, 1)
    errors = np.abs(actual - predicted)
    covered = errors <= spread.half_width(features, predicted)
    assert covered.mean() == pytest.approx(level, abs=0.02)
    calm, wild = features["a"] < 3, features["a"] > 7
    one = np.quantile(errors, level)
    uneven = abs((errors <= one)[calm].mean() - (errors <= one)[wild].mean())
    assert abs(covered[calm].mean() - covered[wild].mean()) < uneven / 2
    widths = spread.half_width(features, predicted)
    assert widths[wild].mean() > 2 * widths[calm].mean()


def test_held_out_widths_are_learned_without_the_row_s_fold() -> None:
    features, predicted, actual = rows(500, 0)
    fold = folds(500)
    before = intervals.held_out_half_widths(features, predicted, actual, fold, 0.9)
    changed = actual.copy()
    changed[fold == 2] += 1000.0
    after = intervals.held_out_half_widths(features, predicted, changed, fold, 0.9)
    assert after[fold == 2].tolist() == before[fold == 2].tolist()
    assert (after[fold != 2] > before[fold != 2]).all()


@pytest.mark.slow
def test_folds_that_differ_are_covered_at_the_level_too() -> None:
    random = np.random.default_rng(0)
    covered = []
    for _ in range(20):
        # each fold is a region with a level of its own in 40 columns, as a new region has
        fold = folds(1000)
        values = random.normal(size=(5, 40))[fold] + random.normal(size=(1000, 40)) / 2
        features = pd.DataFrame(values, columns=[f"x{i}" for i in range(40)])
        predicted = np.full(1000, 100.0)
        actual = predicted + random.uniform(5, 15, size=5)[fold] * random.normal(size=1000)
        half = intervals.held_out_half_widths(features, predicted, actual, fold, 0.9)
        covered.append(np.mean(np.abs(actual - predicted) <= half))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("count", [2, 3])
def test_few_folds_are_enough(count: int) -> None:
    features, predicted, actual = rows(2000, 0)
    fold = np.arange(2000) % count
    half = intervals.held_out_half_widths(features, predicted, actual, fold, 0.9)
    assert np.mean(np.abs(actual - predicted) <= half) == pytest.approx(0.9, abs=0.02)


def test_the_expression_in_sql_is_the_same() -> None:
    features, predicted, actual = rows(3000, 0)
    spread = intervals.fit(features, predicted, actual, folds(3000), 0.9)
    again = Spread.from_json(spread.to_json())
    table = features.assign(prediction=predicted)
    with duckdb.connect() as con:
        con.register("held", table)
        found = con.execute(f"select {again.half_width_sql()} as half from held").df()["half"]
    np.testing.assert_allclose(found, spread.half_width(features, predicted), rtol=1e-12)


def test_a_spread_is_written_on_one_level_and_read_without_what_earlier_releases_lacked() -> None:
    spread = Spread(1.5, ExpectedError(2.0, {"a": 0.5, "prediction": 0.25}, 1.0, 8.0), 0.0)
    written = {"quantile": 1.5, "intercept": 2.0, "slopes": {"a": 0.5, "prediction": 0.25}, "least": 1.0, "most": 8.0}
    assert spread.to_json() == {**written, "minimum": 0.0}
    assert Spread.from_json(written) == Spread(1.5, spread.expected_error)
    # 2 + 0.5 a + 0.25 prediction, between 1 and 8, times 1.5
    widths = spread.half_width(pd.DataFrame({"a": [2.0, -9.0, 40.0]}), np.array([4.0, 0.0, 0.0]))
    assert widths.tolist() == [6.0, 1.5, 12.0]


@pytest.mark.parametrize("minimum", [None, 0.0, -1.5])
def test_ends_are_cut_where_the_target_cannot_be_and_nowhere_else(minimum: float | None) -> None:
    predicted, half = np.array([-5.0, 0.0, 3.0]), np.array([1.0, 2.0, 0.5])
    lower, upper = intervals.ends(predicted, half, minimum)
    low = {None: [-6.0, -2.0, 2.5], 0.0: [0.0, 0.0, 2.5], -1.5: [-1.5, -1.5, 2.5]}[minimum]
    high = {None: [-4.0, 2.0, 3.5], 0.0: [0.0, 2.0, 3.5], -1.5: [-1.5, 2.0, 3.5]}[minimum]
    assert (lower.tolist(), upper.tolist()) == (low, high)
    spread = Spread.from_json(Spread(1.0, ExpectedError(1.0, {}, 1.0, 1.0), minimum).to_json())
    held = pd.DataFrame({"prediction": predicted, intervals.HALF: half})
    with duckdb.connect() as con:
        con.register("held", held)
        found = con.execute(f"select {spread.ends_sql()} from held").df()
    assert (found["lower"].tolist(), found["upper"].tolist()) == (low, high)


def test_the_width_is_bounded_where_no_such_row_was_seen() -> None:
    features, predicted, actual = rows(3000, 0)
    spread = intervals.fit(features, predicted, actual, folds(3000), 0.9)
    far = pd.DataFrame({"a": [1e6, -1e6], "b": [0.0, 0.0]})
    mean = np.abs(actual - predicted).mean()
    widths = spread.half_width(far, np.array([100.0, 100.0])) / spread.quantile
    assert widths.tolist() == pytest.approx([intervals.MOST_SHARE * mean, intervals.LEAST_SHARE * mean])


def test_predictions_without_any_error_have_an_interval_of_no_width() -> None:
    features, predicted, _ = rows(100, 0)
    spread = intervals.fit(features, predicted, predicted, folds(100), 0.9)
    assert spread.half_width(features, predicted).max() == 0.0
