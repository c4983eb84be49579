"""Calibrated probabilities come true as often as they say; nothing is changed that is right, nor turned around."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from ml.arrays import Integers, Matrix
from ml.learning import calibration, measures
from ml.learning.calibration import Calibration


def drawn(rows: int, classes: int, seed: int) -> tuple[Matrix, Integers]:
    """Probabilities that are right, and classes drawn by them."""
    random = np.random.default_rng(seed)
    p = softmax(2 * random.normal(size=(rows, classes)), axis=1)
    return p, np.array([random.choice(classes, p=row) for row in p])


def log_loss(codes: Integers, p: Matrix) -> float:
    return float(measures.of_rows("log_loss", codes, p).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_what_was_stretched_is_stretched_back(classes: int) -> None:
    p, codes = drawn(20_000, classes, 0)
    stretched = softmax(2.5 * np.log(p), axis=1)
    found = calibration.fit(stretched, codes)
    assert found.stretch == pytest.approx(1 / 2.5, rel=0.05)
    assert abs(found.shift) < 0.05
    np.testing.assert_allclose(found.of(stretched), p, atol=0.02)


def test_the_odds_of_classes_that_were_weighted_alike_are_shifted_back() -> None:
    p, codes = drawn(20_000, 2, 0)
    shifted = expit(logit(p[:, 1]) + 3)
    found = calibration.fit(np.column_stack([1 - shifted, shifted]), codes)
    assert found.shift == pytest.approx(-3, abs=0.15)
    assert found.stretch == pytest.approx(1, abs=0.05)


def test_it_is_logistic_regression_s_own_where_the_prior_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    p, codes = drawn(500, 2, 1)
    p = np.column_stack([1 - p[:, 1] ** 2, p[:, 1] ** 2])
    monkeypatch.setattr(calibration, "SHIFT", 1e6)
    monkeypatch.setattr(calibration, "STRETCH", 1e6)
    found = calibration.fit(p, codes)
    expected = LogisticRegression(C=1e12, tol=1e-10).fit(logit(p[:, [1]]), codes)
    assert found.stretch == pytest.approx(expected.coef_[0, 0], rel=1e-5)
    assert found.shift == pytest.approx(expected.intercept_[0], rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_weight_of_so_many_is_the_row_so_often(classes: int) -> None:
    p, codes = drawn(400, classes, 2)
    stretched, times = softmax(2.0 * np.log(p), axis=1), np.random.default_rng(2).integers(1, 4, 400)
    found = calibration.fit(stretched, codes, times.astype(np.float64))
    often = calibration.fit(np.repeat(stretched, times, axis=0), np.repeat(codes, times))
    assert (found.shift, found.stretch) == pytest.approx((often.shift, often.stretch), rel=1e-9)
    assert found != calibration.fit(stretched, codes)


def test_probabilities_that_are_right_are_left_alone_but_for_chance() -> None:
    changed = sum(
        calibration.fit(*drawn(400, classes, seed)) != Calibration() for classes in (2, 3) for seed in range(60)
    )
    assert changed <= 12  # Binomial(120, 0.05) is above in 1 of 100 cases


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("rows", [3, 10, 40])
def test_few_rows_that_are_told_apart_make_nothing_certain(rows: int, classes: int) -> None:
    codes = np.arange(rows) % classes
    sure = np.full((rows, classes), 0.01)
    sure[np.arange(rows), codes] = 1 - 0.01 * (classes - 1)
    found = calibration.fit(sure, codes)
    assert 1 <= found.stretch < 3
    assert abs(found.shift) < 0.5
    least = calibration.fit(1 - sure if classes == 2 else np.roll(sure, 1, axis=1), codes)
    assert 0 < least.stretch < 1  # what is always wrong says less, and is not turned around


def test_nothing_is_learned_of_nothing() -> None:
    assert calibration.fit(np.empty((0, 2)), np.empty(0, np.int64)) == Calibration()
    assert calibration.fit(np.ones((5, 1)), np.zeros(5, np.int64)) == Calibration()


@given(st.integers(0, 1000), st.integers(2, 5), st.floats(-3, 3), st.floats(0.05, 5))
@settings(max_examples=50, deadline=None)
def test_calibrated_probabilities_are_probabilities_in_the_same_order(
    seed: int, classes: int, shift: float, stretch: float
) -> None:
    p, _ = drawn(30, classes, seed)
    p[0] = np.eye(classes)[0]  # 0 and 1 themselves
    found = Calibration(shift if classes == 2 else 0.0, stretch).of(p)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()
    by_row = np.argsort(p[:, 1], kind="stable") if classes == 2 else None
    if by_row is not None:
        assert (np.diff(found[by_row, 1]) >= 0).all()
    else:
        assert (found.argmax(axis=1) == p.argmax(axis=1)).all()


@pytest.mark.parametrize("labels", [[False, True], ["no", "a'b"], [3, -1], ["x", "y", ""]])
def test_a_calibrated_estimator_is_scikit_learn_s_and_gives_classes(labels: list[object]) -> None:
    random = np.random.default_rng(0)
    x = pd.DataFrame(random.normal(size=(200, 2)), columns=["a", "b"])
    place = np.digitize(x["a"] + random.normal(size=200), np.linspace(-1, 1, len(labels) - 1))
    y = pd.Series([labels[i] for i in place], dtype=object if isinstance(labels[0], str) else None)
    fitted = RandomForestClassifier(20, random_state=0).fit(x, y)  # which says 0 and 1, and has no odds
    made = Calibration(0.2 if len(labels) == 2 else 0.0, 0.6)
    served = made.around(fitted, x[:1])
    assert type(served).__module__.startswith("sklearn.")
    assert served.classes_.tolist() == fitted.classes_.tolist() == np.unique(y).tolist()
    np.testing.assert_allclose(served.predict_proba(x), made.of(fitted.predict_proba(x)), rtol=1e-12)
    assert (served.predict(x) == served.classes_[served.predict_proba(x).argmax(axis=1)]).all()
    assert Calibration().around(fitted, x[:1]) is fitted


def test_no_row_is_calibrated_by_its_own_fold_nor_by_what_comes_later() -> None:
    p, codes = drawn(3000, 2, 0)
    p = softmax(3 * np.log(p), axis=1)
    fold, known = np.arange(3000) % 3, np.ones(3000, bool)
    across, by_time = calibration.held_out(p, codes, fold, known), calibration.over_time(p, codes, fold, known)
    assert log_loss(codes, across) < log_loss(codes, p) - 0.05
    np.testing.assert_array_equal(by_time[fold == 0], p[fold == 0])
    for number in range(3):
        other = np.where(fold == number, 1 - codes, codes)
        np.testing.assert_array_equal(
            calibration.held_out(p, other, fold, known)[fold == number], across[fold == number]
        )
        np.testing.assert_array_equal(
            calibration.over_time(p, other, fold, known)[fold <= number], by_time[fold <= number]
        )
    # of rows whose class no fit had seen, nothing is learned
    nobody = calibration.held_out(p, codes, fold, ~known)
    np.testing.assert_array_equal(nobody, p)
