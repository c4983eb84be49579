"""The estimator that a spec names: by its path, with the spec's seed and one thread under its own names for them."""

from typing import Any

import pytest
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from ml.learning import unfitted
from ml.learning.fits import EstimatorError
from ml.spec import CandidateSpec

LIKE_CATBOOST = "tests.ml.learning.unruly.LikeCatBoost"


def test_any_regressor_may_be_named_by_its_path_and_parameters() -> None:
    spec = CandidateSpec(
        name="forest", estimator="sklearn.ensemble.RandomForestRegressor", parameters={"n_estimators": 7}
    )
    made = unfitted.estimator(spec, seed=3)
    assert isinstance(made, RandomForestRegressor)
    assert (made.n_estimators, made.random_state) == (7, 3)


@pytest.mark.parametrize(
    ("estimator", "parameters", "sentence"),
    [
        ("sklearn.linear_model.LogisticRegression", {}, "makes a LogisticRegression, which is no regressor"),
        ("sklearn.nowhere.Thing", {}, r"cannot be imported: No module named 'sklearn\.nowhere'"),
        ("sklearn.linear_model.Thing", {}, "cannot be imported: module 'sklearn.linear_model' has no attribute"),
        ("sklearn.linear_model.__name__", {}, r"__name__: 'str' object is not callable\.$"),
        ("builtins.dict", {}, "makes a dict, which is no regressor"),
        ("sklearn.svm.SVC", {"C": 1}, "makes a SVC, which is no regressor"),
        (
            "tests.ml.learning.unruly_at_import.Mine",
            {},
            r"cannot be imported: RuntimeError: not on this machine\. Write",
        ),
        ("sklearn.linear_model.Ridge", {"alfa": 1}, r"unexpected keyword argument 'alfa'\. Allowed parameters: alpha"),
    ],
)
def test_what_is_no_regressor_is_a_clear_error(estimator: str, parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EstimatorError, match=sentence) as raised:
        unfitted.estimator(CandidateSpec(name="mine", estimator=estimator, parameters=parameters), seed=0)
    assert str(raised.value).startswith(f"candidate mine: estimator {estimator}")


@pytest.mark.parametrize(
    ("estimator", "parameters", "expected"),
    [
        (LIKE_CATBOOST, {}, {"random_seed": 3, "thread_count": 1}),
        (LIKE_CATBOOST, {"random_seed": 7}, {"random_seed": 7, "thread_count": 1}),
        (LIKE_CATBOOST, {"random_state": 7, "n_jobs": 2}, {"random_state": 7, "n_jobs": 2}),
        ("sklearn.ensemble.RandomForestRegressor", {}, {"random_state": 3, "n_jobs": 1}),
        ("sklearn.ensemble.RandomForestRegressor", {"n_jobs": -1}, {"random_state": 3, "n_jobs": -1}),
        ("sklearn.ensemble.RandomForestRegressor", {"random_state": None}, {"random_state": None, "n_jobs": 1}),
        (f"{__name__}.bagged_trees", {}, {"estimator__random_state": 3, "random_state": 4, "n_jobs": 1}),
        (f"{__name__}.bagged_trees", {"seed": 7}, {"estimator__random_state": 7, "random_state": 8, "n_jobs": 1}),
        (f"{__name__}.open_trees", {}, {"estimator__random_state": 3, "random_state": 3, "n_jobs": 1}),
    ],
)
def test_the_seed_and_one_thread_go_by_the_estimator_s_own_names(
    estimator: str, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = unfitted.estimator(CandidateSpec(name="mine", estimator=estimator, parameters=parameters), seed=3)
    assert {name: made.get_params().get(name) for name in expected} == expected
    assert "random_state" in expected or made.get_params() == expected  # and by no second one


def bagged_trees(seed: int) -> Any:
    """A recipe that makes its own of the seed, and would take all cores."""
    return BaggingRegressor(DecisionTreeRegressor(random_state=seed), n_jobs=-1, random_state=seed + 1)


def open_trees() -> Any:
    """A recipe that leaves all open, here and inside."""
    return BaggingRegressor(DecisionTreeRegressor())
