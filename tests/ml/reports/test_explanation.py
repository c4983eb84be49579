"""What decides matters more than noise, held-out rows stay unseen, and a linear model's dependence is its line."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression

from ml.reports import explanation


def frame(rows: int = 1000) -> tuple[pd.DataFrame, "pd.Series[float]"]:
    random = np.random.default_rng(0)
    features = pd.DataFrame({"a": random.uniform(0, 10, rows), "b": random.uniform(0, 5, rows)})
    features["noise"] = random.normal(size=rows)
    return features, 3 * features["a"] - 2 * features["b"]


class Remembers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the mean, and keeps what it was fitted on, also by its clones."""

    seen: ClassVar[list[pd.DataFrame]] = []

    def fit(self, features: pd.DataFrame, target: "pd.Series[float]") -> "Remembers":
        self.seen.append(features)
        self.mean_ = float(target.mean())
        return self

    def predict(self, features: pd.DataFrame) -> Any:
        return np.full(len(features), self.mean_)


def test_shuffling_a_column_of_a_perfect_model_costs_what_theory_says() -> None:
    features, target = frame()
    held = np.arange(len(features)) % 2 == 0
    found = explanation.importance(LinearRegression(), features, target, held, seed=0)
    assert list(found["feature"]) == ["a", "b", "noise"]
    mean = found.set_index("feature")["importance_mean"]
    # the difference of two draws has twice the variance: slope times deviation times the root of 2
    assert mean["a"] == pytest.approx(3 * features["a"][held].std() * np.sqrt(2), rel=0.03)
    assert mean["b"] == pytest.approx(2 * features["b"][held].std() * np.sqrt(2), rel=0.03)
    assert mean["noise"] == pytest.approx(0, abs=1e-9)
    assert found["importance_sd"].between(0, 0.05 * mean["a"]).all()
    assert set(found["heldout_rows"]) == {500}
    assert set(found["repeats"]) == {5}


def test_the_refit_has_not_seen_a_held_out_row_and_the_estimator_stays_as_it_is() -> None:
    features, target = frame()
    held = np.arange(len(features)) % 5 == 0
    estimator = Remembers()
    Remembers.seen.clear()
    explanation.importance(estimator, features, target, held, seed=0)
    (seen,) = Remembers.seen
    assert list(seen.index) == list(features.index[~held])
    assert not hasattr(estimator, "mean_")


def test_of_many_rows_a_bounded_draw_is_shuffled_and_averaged() -> None:
    features, target = frame(6000)
    held = np.arange(len(features)) % 2 == 0
    found = explanation.importance(LinearRegression(), features, target, held, seed=0)
    assert set(found["heldout_rows"]) == {explanation.IMPORTANCE_ROWS}
    curves = explanation.dependence(LinearRegression().fit(features, target), features, seed=0)
    assert set(curves["averaged_rows"]) == {explanation.DEPENDENCE_ROWS}


def test_the_partial_dependence_of_a_linear_model_is_its_line() -> None:
    features, target = frame()
    curves = explanation.dependence(LinearRegression().fit(features, target), features, seed=0)
    drawn = explanation._drawn(np.arange(1000), explanation.DEPENDENCE_ROWS, 0)
    means = features.iloc[drawn].mean()
    a = curves[curves["feature"] == "a"]
    np.testing.assert_allclose(a["mean_prediction"], 3 * a["feature_value"] - 2 * means["b"], rtol=1e-9)
    b = curves[curves["feature"] == "b"]
    np.testing.assert_allclose(b["mean_prediction"], 3 * means["a"] - 2 * b["feature_value"], rtol=1e-9)
    assert list(a["grid_point"]) == list(range(20))
    ends = features["a"].quantile([0.025, 0.975])
    assert (a["feature_value"].iloc[0], a["feature_value"].iloc[-1]) == pytest.approx(tuple(ends))


def test_a_constant_column_has_one_grid_point_and_no_importance() -> None:
    features, target = frame()
    features["noise"] = 7.0
    curves = explanation.dependence(LinearRegression().fit(features, target), features, seed=0)
    flat = curves[curves["feature"] == "noise"]
    assert list(flat["feature_value"]) == [7.0]
    held = np.arange(len(features)) % 2 == 0
    found = explanation.importance(LinearRegression(), features, target, held, seed=0)
    assert found.set_index("feature")["importance_mean"]["noise"] == pytest.approx(0, abs=1e-9)


def test_of_many_features_those_that_take_most_away_are_measured_and_the_others_seen_once() -> None:
    random, width = np.random.default_rng(0), 3 * explanation.MEASURED
    features = pd.DataFrame(random.normal(size=(1000, width)), columns=[f"x{number}" for number in range(width)])
    target = 3 * features["x7"] - 2 * features["x120"]
    held = np.arange(len(features)) % 2 == 0
    found = explanation.importance(LinearRegression(), features, target, held, seed=0)
    assert list(found["feature"]) == list(features.columns)
    assert found["repeats"].value_counts().to_dict() == {1: 2 * explanation.MEASURED, 5: explanation.MEASURED}
    assert found["heldout_rows"][found["repeats"] == 1].unique() == [explanation.FEW_ROWS]
    ranked = found.set_index("feature").sort_values("importance_mean", ascending=False)
    assert list(ranked.index[:2]) == ["x7", "x120"]
    assert list(ranked["repeats"][:2]) == [5, 5]
    # as in a narrow table, the others beside
    assert ranked["importance_mean"]["x7"] == pytest.approx(3 * features["x7"][held].std() * np.sqrt(2), rel=0.05)
    assert ranked["importance_mean"].iloc[2:].abs().max() < 1e-9
    curves = explanation.dependence(
        LinearRegression().fit(features, target), features, 0, {"x7": "number", "x120": "number"}
    )
    assert list(curves["feature"].unique()) == ["x7", "x120"]
