"""Sets hold the true class as often as asked, are never empty, and know neither their fold nor the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from ml.arrays import Integers, Matrix
from ml.learning import sets


def drawn(rows: int, classes: int, seed: int, sharp: float = 1.5) -> tuple[Matrix, Integers]:
    random = np.random.default_rng(seed)
    p = softmax(sharp * random.normal(size=(rows, classes)), axis=1)
    return p, np.array([random.choice(classes, p=row) for row in p])


def test_the_quantile_and_the_members_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0]])
    codes = np.array([0, 1, 1])
    assert sets.scores(p, codes).tolist() == pytest.approx([0.3, 0.65, 0.5])
    assert sets.fit(p, codes, 0.5) == 0.5  # the second of three
    assert sets.members(p, 0.6).tolist() == [[True, False, False], [True, False, False], [True, True, False]]
    assert sets.members(p, np.array([0.0, 0.75, np.nan])).tolist() == [
        [True, False, False],
        [True, True, True],
        [True, False, False],
    ]


@given(st.integers(0, 500), st.integers(2, 6), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_no_set_is_empty_and_none_leaves_out_what_is_more_probable(seed: int, classes: int, quantile: float) -> None:
    p, _ = drawn(40, classes, seed)
    inside = sets.members(p, quantile)
    assert inside.any(axis=1).all()
    assert (np.where(inside, p, 2).min(axis=1) >= np.where(inside, -1, p).max(axis=1)).all()


@pytest.mark.parametrize(("classes", "level"), [(2, 0.9), (3, 0.8), (5, 0.9)])
def test_new_rows_are_covered_as_asked_over_seeds(classes: int, level: float) -> None:
    covered = []
    for seed in range(20):
        p, codes = drawn(1500, classes, seed, 0.7)
        quantile = sets.fit(p[:500], codes[:500], level)
        covered.append(sets.members(p[500:], quantile)[np.arange(1000), codes[500:]].mean())
    assert np.mean(covered) == pytest.approx(level, abs=0.02)


def test_the_set_of_a_fold_does_not_change_with_its_classes() -> None:
    p, codes = drawn(600, 3, 0)
    fold = np.arange(600) % 4
    expected = sets.held_out(p, codes, fold, 0.9)
    for number in range(4):
        other = np.where(fold == number, (codes + 1) % 3, codes)
        found = sets.held_out(p, other, fold, 0.9)
        np.testing.assert_array_equal(found[fold == number], expected[fold == number])
        assert (found[fold != number] != expected[fold != number]).all()


def test_a_period_s_sets_are_made_of_those_before_it_and_the_served_ones_of_all() -> None:
    p, codes = drawn(800, 3, 0)
    fold = np.arange(800) // 200 + 1
    expected, served = sets.over_time(p, codes, fold, 0.9)
    assert np.isnan(expected[fold == 1]).all()
    assert np.isfinite(expected[fold > 1]).all()
    assert expected[fold == 2][0] == sets.fit(p[fold == 1], codes[fold == 1], 0.9)
    for number in range(2, 5):
        other = np.where(fold >= number, (codes + 1) % 3, codes)
        found, ours = sets.over_time(p, other, fold, 0.9)
        np.testing.assert_array_equal(found[fold <= number], expected[fold <= number])
        assert ours != served


def test_after_a_period_that_was_covered_too_seldom_more_is_asked_for() -> None:
    p, codes = drawn(3000, 3, 0)
    fold = np.arange(3000) // 1000 + 1
    worse = np.where(fold == 2, p.argmin(axis=1), codes)
    quantiles, served = sets.over_time(p, worse, fold, 0.8)
    usual, of_usual = sets.over_time(p, codes, fold, 0.8)
    assert quantiles[-1] > usual[-1]
    assert served > of_usual
