"""Recipes: ridge is scikit-learn's own, with the figures of the example that we start from; others by their path."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from dbt_project.housing import source as california_housing
from ml.exposures import Exposure
from ml.learning import candidates, training_set
from ml.learning.candidates import Fitted
from ml.learning.fits import EstimatorError
from ml.learning.workers import MIN_PROCESS_ROWS
from ml.linear import ridge
from ml.spec import CandidateSpec, Spec
from tests.ml.conftest import POINTS as EXPOSURE
from tests.ml.rows import candidate, frame, published, silent, trained_on

EIGHT = [*california_housing.COLUMNS[:-1]]


def housing(**spec: Any) -> Exposure:
    """Scikit-learn's eight columns, as an exposure would learn from them."""
    return Exposure(
        name="housing",
        owner="Someone",
        owner_email=None,
        description="",
        unique_id="model.tract.housing",
        relation="features.housing",
        columns={"id": "BIGINT", **dict.fromkeys(california_housing.COLUMNS, "DOUBLE")},
        spec=Spec(key="id", target="MedHouseVal", minimum=0, candidates=("ridge",), **spec),
    )


def fit_ridge(rows: pd.DataFrame, exposure: Exposure) -> Fitted:
    with duckdb.connect(config={"threads": 1}) as con:
        training = training_set.read(con, exposure, published(con, rows), silent)
        return candidates.build(CandidateSpec(name="ridge"), con, training, silent).fit()


def test_ridge_on_scikit_learns_eight_columns_has_the_example_s_r2_and_is_ridgecv_s() -> None:
    rows = california_housing.fetch().assign(id=range(20640))
    fitted = fit_ridge(rows, housing())
    assert fitted.parameters == {"alpha": 10.0}
    assert round(fitted.estimator.score(rows[EIGHT], rows["MedHouseVal"]), 3) == 0.606
    alphas = np.logspace(-3, 1, 30)
    expected = make_pipeline(StandardScaler(), RidgeCV(alphas=alphas)).fit(rows[EIGHT], rows["MedHouseVal"])
    assert fitted.parameters["alpha"] == expected[-1].alpha_
    assert fitted.estimator[-1].coef_ == pytest.approx(expected[-1].coef_, rel=1e-11)
    assert fitted.estimator[-1].intercept_ == pytest.approx(expected[-1].intercept_, rel=1e-12)


def test_alpha_by_folds_has_the_least_error_over_the_folds_of_the_split() -> None:
    rows = california_housing.fetch().assign(id=range(20640))
    exposure = housing(alpha_by="folds")
    training = trained_on(rows, exposure)
    errors = ridge.fold_errors(training.moments["random"], candidates.ALPHAS).mean(axis=0)
    assert fit_ridge(rows, exposure).parameters == {"alpha": candidates.ALPHAS[int(np.argmin(errors))]}


def test_a_note_names_columns_that_are_constant_or_collinear() -> None:
    rows = frame()
    assert fit_ridge(rows.assign(b=5.0), EXPOSURE).notes == ("column 'b' is constant at 5: its coefficient is 0",)
    assert fit_ridge(rows.assign(b=2 * rows["a"] + 1), EXPOSURE).notes[0].startswith("column 'a' is a linear function")


def test_the_scaler_file_reads_back_as_means_and_scaler(tmp_path: object) -> None:
    rows = frame()
    scaler = ridge.fit_moments(trained_on(rows, EXPOSURE).whole, 1.0, ["a", "b"])[0]
    path = f"{tmp_path}/scaler.joblib"
    joblib.dump([{"a": scaler.mean_[0]}, scaler], path)
    means, read = joblib.load(path)
    assert means["a"] == pytest.approx(rows["a"].mean(), rel=1e-12)
    assert read.transform(rows[["a", "b"]]).std(axis=0) == pytest.approx(np.ones(2))


def test_gradient_boosting_is_scikit_learns_with_the_spec_s_seed() -> None:
    rows = frame(500)
    training = trained_on(rows, EXPOSURE)
    fitted = candidate("gradient_boosting", training).fit()
    with threadpool_limits(limits=1):
        expected = HistGradientBoostingRegressor(random_state=0).fit(training.features, training.target)
    assert fitted.parameters == {"rows": 500}
    assert fitted.estimator.predict(rows[["a", "b"]]).tolist() == expected.predict(rows[["a", "b"]]).tolist()


UNRULY = "tests.ml.learning.unruly.Unruly"
LIKE_CATBOOST = "tests.ml.learning.unruly.LikeCatBoost"


def unruly(learned: pd.DataFrame, **parameters: Any) -> candidates.Candidate:
    training = trained_on(learned, EXPOSURE)
    spec = CandidateSpec(name="mine", estimator=UNRULY, parameters=parameters)
    return candidates.build(spec, duckdb.connect(), training, silent)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("fit", "it cannot be fitted: KeyError: 'no such thing'."),
        ("one fold", "it cannot be fitted: KeyError: 'no such thing'."),
        ("predict", "it cannot predict: RuntimeError: nobody taught me."),
        ("nan", "it predicts NaN, infinity or beyond 1e+150 in 1 of N rows."),
        ("huge", "it predicts NaN, infinity or beyond 1e+150 in 1 of N rows."),
        ("column", "it predicts the shape (N, 1) for N rows, not a number for each."),
        (
            "memory",
            "Python ran out of memory (Unable to allocate 4.5 GiB for an array). features.points has 3 columns to "
            "learn from, and 200,000 rows (meta.ml.max_rows) of 3 columns are 5 MB, held several times over on each "
            "core. Lower meta.ml.max_rows, leave columns out, or give the machine more memory.",
        ),
    ],
)
def test_a_candidate_that_fails_in_any_way_says_whose_fault_it_is(how: str, why: str) -> None:
    with pytest.raises(EstimatorError) as error:
        unruly(frame(400), how=how).held_out("random")
    # of two folds that are fitted at once, either may fail first: 400 rows are some 80 a fold
    assert re.sub(r"\b[6-9]\d\b", "N", str(error.value)) == f"candidate mine: {why}"


def test_a_candidate_that_fails_on_all_rows_says_so_when_it_is_fitted() -> None:
    made = unruly(frame(400), how="everything", rows=400)
    assert made.held_out("random").shape == (400,)
    with pytest.raises(EstimatorError, match=r"^candidate mine: it cannot be fitted: too many rows\.$"):
        made.fit()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_the_next_candidate_has_workers_again() -> None:
    rows = frame(MIN_PROCESS_ROWS)
    with pytest.raises(
        EstimatorError, match=r"^candidate mine: a worker process was ended from outside, as a machine "
    ):
        unruly(rows, how="killed").held_out("random")
    assert np.isfinite(unruly(rows).held_out("random")).all()


def test_ridge_names_memory_that_ran_out_and_no_fault_but_that(monkeypatch: pytest.MonkeyPatch) -> None:
    made = candidate("ridge", trained_on(frame(), EXPOSURE))
    for error, expected in ((MemoryError("much"), EstimatorError), (duckdb.IOException("S3"), duckdb.IOException)):
        monkeypatch.setattr(ridge, "left_out_errors", mock(error))
        with pytest.raises(expected, match=r"much|S3"):
            made.fit()


def mock(error: Exception) -> Any:
    def fails(*_: Any) -> None:
        raise error

    return fails


def test_fits_write_nothing_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training = trained_on(frame(), EXPOSURE)
    spec = CandidateSpec(name="mine", estimator=LIKE_CATBOOST)
    made = candidates.build(spec, duckdb.connect(), training, silent)
    made.held_out("random")
    fitted = made.fit()
    assert list(tmp_path.iterdir()) == []
    assert Path.cwd() == tmp_path
    assert fitted.estimator.fitted_in_ != str(tmp_path) and not Path(fitted.estimator.fitted_in_).exists()


def test_a_learner_in_memory_sees_the_sample_and_ridge_sees_all() -> None:
    exposure = replace(EXPOSURE, spec=EXPOSURE.spec.model_copy(update={"max_rows": 1000}))
    rows = frame(5000)
    training = trained_on(rows, exposure)
    assert 900 < len(training.sample) < 1100
    assert candidate("gradient_boosting", training).fit().parameters == {"rows": len(training.sample)}
    assert fit_ridge(rows, exposure).estimator[0].n_samples_seen_ == 5000
