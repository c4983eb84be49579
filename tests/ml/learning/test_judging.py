"""Metrics and held-out predictions, on small frames with known answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ml.exposures import Exposure
from ml.learning import judging, measures
from ml.learning.published import RowsError
from tests.ml.rows import candidate, frame, trained_on


def test_metrics_of_known_errors() -> None:
    actual = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    predicted = np.array([1.0, 1.0, 5.0, 4.0, 7.0])
    assert measures.of_numbers(actual, predicted) == {
        "rows": 5,
        "rmse": pytest.approx(np.sqrt((0 + 1 + 4 + 0 + 9) / 5)),
        "mae": pytest.approx(6 / 5),
        "r2": pytest.approx(1 - 14 / 50),
        "median_absolute_error": 1.0,
        "p90_absolute_error": pytest.approx(2.6),  # between the errors 2 and 3
    }


def test_the_mean_predictor_is_the_mean_of_the_training_rows_alone(exposure: Exposure) -> None:
    training = trained_on(frame(50), exposure)
    made = judging.judge(candidate("ridge", training), training)
    fold, y = training.fold("random"), training.target
    expected = np.empty(50)
    for number in range(5):
        expected[fold == number] = y[fold != number].mean()
    assert made.value("random", "rmse", "mean") == pytest.approx(np.sqrt(np.mean((y - expected) ** 2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_every_row_is_held_out_once_a_split_by_a_model_that_had_not_seen_it(name: str, exposure: Exposure) -> None:
    rows = frame()
    training = trained_on(rows, exposure)
    made = judging.judge(candidate(name, training), training)
    assert made.heldout.groupby("split")["id"].nunique().to_dict() == {"random": 200, "group": 200}
    # its own target must not show in its own held-out prediction
    changed = rows.assign(y=rows["y"].where(rows.index != 7, rows["y"] + 1e6))
    training = trained_on(changed, exposure)
    again = judging.judge(candidate(name, training), training)
    own = [j.heldout[j.heldout["id"] == "k7"].set_index("split")["predicted"] for j in (made, again)]
    assert own[1].to_dict() == pytest.approx(own[0].to_dict(), rel=1e-12)


def test_metrics_stand_by_slice_and_add_up(exposure: Exposure) -> None:
    sliced = replace(exposure, spec=exposure.spec.model_copy(update={"slices": {"size": "a > 5", "cell": "cell"}}))
    training = trained_on(frame(600), sliced)
    made = judging.judge(candidate("ridge", training), training)
    names = list(dict.fromkeys(made.metrics["slice"]))
    assert names[:3] == ["all", "size: false", "size: true"]
    assert names[3:] == sorted(f"cell: c{i}" for i in range(12))
    parts = [made.values("random", of=name) for name in names[1:3]]
    assert sum(part["rows"] for part in parts) == 600
    together = sum(part["rows"] * part["rmse"] ** 2 for part in parts) / 600
    assert made.value("random", "rmse") == pytest.approx(np.sqrt(together), rel=1e-12)


def test_a_slice_that_is_no_sql_is_an_error_that_says_so(exposure: Exposure) -> None:
    sliced = replace(exposure, spec=exposure.spec.model_copy(update={"slices": {"size": "nothing > 5"}}))
    with pytest.raises(RowsError, match=r"meta\.ml\.slices or a feature cannot be read: .*\"nothing\" not found"):
        trained_on(frame(), sliced)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_permuting_rows_changes_nothing(name: str, exposure: Exposure) -> None:
    made = []
    for rows in (frame(600), frame(600).sample(frac=1, random_state=0)):
        training = trained_on(rows, exposure)
        made.append((judging.judge(candidate(name, training), training), candidate(name, training).fit()))
    (judgement, fitted), (permuted, refitted) = made
    pd.testing.assert_frame_equal(permuted.heldout, judgement.heldout, rtol=1e-9)
    pd.testing.assert_frame_equal(permuted.metrics, judgement.metrics, rtol=1e-9)
    grid = pd.DataFrame({"a": np.linspace(0, 10, 50), "b": np.linspace(5, 0, 50)})
    np.testing.assert_allclose(refitted.estimator.predict(grid), fitted.estimator.predict(grid), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_a_target_in_thousands_gives_predictions_intervals_and_metrics_in_thousands(
    name: str, exposure: Exposure
) -> None:
    rows = frame(600)
    made = []
    for unit in (1, 1000):
        training = trained_on(rows.assign(y=rows["y"] * unit), exposure)
        made.append((judging.judge(candidate(name, training), training), candidate(name, training).fit()))
    (judgement, fitted), (thousandfold, refitted) = made
    # trees add gradients as 32-bit floats
    within = {"ridge": 1e-9, "gradient_boosting": 1e-5}[name]
    for column in ("actual", "predicted", "lower", "upper"):
        np.testing.assert_allclose(thousandfold.heldout[column], judgement.heldout[column] * 1000, rtol=within)
    without_unit = judgement.metrics["metric"].isin(["rows", "sampled_from", "r2", "coverage"])
    expected = judgement.metrics["value"].where(without_unit, judgement.metrics["value"] * 1000)
    np.testing.assert_allclose(thousandfold.metrics["value"], expected, rtol=within)
    predicted = (estimator.predict(rows[["a", "b"]]) for estimator in (fitted.estimator, refitted.estimator))
    np.testing.assert_allclose(next(predicted) * 1000, next(predicted), rtol=within)
