"""The averaged recipe: a mean of seeds, blind to the columns that it shall not see."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from ml.learning import unfitted
from ml.recipes import averaged
from ml.spec import CandidateSpec
from tests.ml.rows import frame

PATH = "ml.recipes.averaged.boosting"


@pytest.mark.slow
def test_it_is_the_mean_of_scikit_learns_with_one_seed_after_the_other() -> None:
    rows = frame(300)
    parameters: dict[str, Any] = {"max_iter": 20, "max_features": 0.5}
    fitted = averaged.boosting(times=3, random_state=7, **parameters).fit(rows[["a", "b"]], rows["y"])
    expected = [
        HistGradientBoostingRegressor(random_state=seed, **parameters).fit(rows[["a", "b"]], rows["y"])
        for seed in (7, 8, 9)
    ]
    each = np.array([model.predict(rows[["a", "b"]]) for model in expected])
    assert np.ptp(each, axis=0).max() > 0
    assert fitted.predict(rows[["a", "b"]]) == pytest.approx(each.mean(axis=0), rel=1e-12)


def test_it_does_not_see_the_columns_that_it_is_without() -> None:
    rows = frame(300)
    fitted = averaged.boosting(times=1, without=["b"], max_iter=20).fit(rows[["a", "b"]], rows["y"])
    alone = averaged.boosting(times=1, max_iter=20).fit(rows[["a"]], rows["y"])
    assert fitted.predict(rows[["a", "b"]].assign(b=-1e9)).tolist() == alone.predict(rows[["a"]]).tolist()
    assert list(fitted.feature_names_in_) == ["a", "b"]


def test_a_column_that_is_not_there_is_an_error() -> None:
    rows = frame(50)
    with pytest.raises(ValueError, match="not columns of the dataframe"):
        averaged.boosting(times=1, without=["c"]).fit(rows[["a", "b"]], rows["y"])


def test_a_spec_names_it_by_its_path_with_the_spec_s_seed() -> None:
    spec = CandidateSpec(name="averaged", estimator=PATH, parameters={"times": 2, "without": ["a"], "max_iter": 5})
    made = unfitted.estimator(spec, seed=3)
    assert [model.random_state for _, model in made[-1].estimators] == [3, 4]
    assert {model.max_iter for _, model in made[-1].estimators} == {5}
