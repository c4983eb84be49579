"""Metrics are scikit-learn's own, where it has them; by row, they add up to those over all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from ml.arrays import Integers, Matrix
from ml.learning import measures
from ml.learning.measures import Ranking


def drawn(rows: int, classes: int, seed: int, digits: int = 12) -> tuple[Integers, Matrix]:
    random = np.random.default_rng(seed)
    p = softmax(random.normal(size=(rows, classes)), axis=1).round(digits)
    codes = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])
    return codes, p / p.sum(axis=1, keepdims=True)


@given(st.integers(0, 1000), st.integers(2, 5), st.sampled_from([1, 2, 12]))
@settings(max_examples=60, deadline=None)
def test_metrics_of_classes_are_scikit_learn_s(seed: int, classes: int, digits: int) -> None:
    codes, p = drawn(50, classes, seed, digits)
    found = measures.of_classes(codes, p, 1 if classes == 2 else None)
    labels = list(range(classes))
    assert found["log_loss"] == pytest.approx(log_loss(codes, p, labels=labels))
    each = np.eye(classes)[codes]
    if classes == 2:
        expected = {
            "brier_score": brier_score_loss(codes, p[:, 1]),
            "roc_auc": roc_auc_score(codes, p[:, 1]),
            "average_precision": average_precision_score(codes, p[:, 1]),
        }
    else:
        expected = {
            "brier_score": np.mean(np.sum((p - each) ** 2, axis=1)),
            "roc_auc": roc_auc_score(codes, p, multi_class="ovr", labels=labels),
            "average_precision": average_precision_score(each, p, average="macro"),
        }
    for metric, value in expected.items():
        assert found[metric] == pytest.approx(value, rel=1e-9), metric
    assert found["accuracy"] == np.mean(p.argmax(axis=1) == codes)


@given(st.integers(0, 1000), st.integers(2, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_weight_of_so_many_is_the_row_so_often(seed: int, classes: int, numbers: bool) -> None:
    random = np.random.default_rng(seed)
    times = random.integers(1, 4, 40)
    weights = times / times.mean()
    if numbers:
        actual, predicted = random.normal(size=(2, 40))
        found = measures.of_numbers(actual, predicted, weights)
        expected = measures.of_numbers(np.repeat(actual, times), np.repeat(predicted, times))
        exact = found.keys() - {"rows", "median_absolute_error", "p90_absolute_error"}  # these lie between two rows
    else:
        codes, p = drawn(40, classes, seed)
        place = 1 if classes == 2 else None
        found = measures.of_classes(codes, p, place, weights)
        expected = measures.of_classes(np.repeat(codes, times), np.repeat(p, times, axis=0), place)
        exact = found.keys() - {"rows", "ece"}  # whose bins are of equal numbers of rows
    assert found["rows"] == 40
    assert {name: found[name] for name in exact} == pytest.approx({name: expected[name] for name in exact}, rel=1e-9)
    if numbers:
        ordered = np.sort(np.repeat(np.abs(actual - predicted), times))
        place = int(np.ceil(0.9 * len(ordered) - 1e-9)) - 1
        assert found["p90_absolute_error"] == ordered[place]


@given(st.integers(0, 1000), st.sampled_from([1, 12]))
@settings(max_examples=60, deadline=None)
def test_ranks_under_weights_are_scikit_learn_s(seed: int, digits: int) -> None:
    codes, p = drawn(60, 2, seed, digits)
    weights = np.random.default_rng(seed).integers(0, 4, 60).astype(float)
    weights[:2] = 1  # both classes are left
    ranking = Ranking(codes == 1, p[:, 1])
    expected = roc_auc_score(codes, p[:, 1], sample_weight=weights)
    assert ranking.value("roc_auc", weights) == pytest.approx(expected, rel=1e-9)
    expected = average_precision_score(codes, p[:, 1], sample_weight=weights)
    assert ranking.value("average_precision", weights) == pytest.approx(expected, rel=1e-9)


def test_rows_of_one_class_have_no_order_and_weights_that_leave_one_say_so() -> None:
    _, p = drawn(10, 2, 0)
    assert not {"roc_auc", "average_precision"} & set(measures.of_classes(np.ones(10, np.int64), p, 1))
    ranking = Ranking(np.array([True, False]), np.array([0.2, 0.1]))
    assert np.isnan(ranking.value("roc_auc", np.array([1.0, 0.0])))
    assert np.isnan(measures.mean_rank("roc_auc", [ranking], np.array([0.0, 1.0])))


def test_of_several_classes_those_count_that_are_there() -> None:
    codes, p = np.array([0, 1, 0, 1]), drawn(4, 3, 0)[1]
    found = measures.of_classes(codes, p, None)
    expected = np.mean([roc_auc_score(codes == place, p[:, place]) for place in (0, 1)])
    assert found["roc_auc"] == pytest.approx(expected)


def test_the_class_that_is_positive_is_the_one_that_is_ranked() -> None:
    codes, p = drawn(50, 2, 3)
    assert measures.of_classes(codes, p, 0)["average_precision"] == pytest.approx(
        average_precision_score(codes == 0, p[:, 0])
    )


def test_a_probability_of_nothing_costs_what_a_double_can_say() -> None:
    lost = measures.of_rows("log_loss", np.array([1]), np.array([[1.0, 0.0]]))
    assert lost[0] == pytest.approx(36.04, abs=0.01)


def test_calibration_error_by_hand_and_of_probabilities_that_are_right() -> None:
    p = np.array([[0.9, 0.1]] * 4)  # fewer rows than bins: each is a bin
    assert measures.expected_calibration_error(np.array([0, 0, 1, 1]), p) == pytest.approx((0.1 + 0.1 + 0.9 + 0.9) / 4)
    assert measures.expected_calibration_error(np.array([0] * 27 + [1] * 3), np.repeat(p[:1], 30, 0)) > 0
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 30_000)
    codes = (random.uniform(size=30_000) > sure).astype(np.int64)
    right = np.column_stack([sure, 1 - sure])
    assert measures.expected_calibration_error(codes, right) < 0.01
    assert measures.expected_calibration_error(codes, np.column_stack([sure**0.5, 1 - sure**0.5])) > 0.05
