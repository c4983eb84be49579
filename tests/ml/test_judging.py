"""Metrics, intervals and the gate, on small frames with known answers."""

import numpy as np
import pandas as pd
import pytest

from ml import gate, judging
from ml.judging import Judgement
from ml.spec import Exposure
from tests.ml.rows import candidate, frame, trained_on


def judgement(rmse: float, mean: float = 100.0, actual: list[float] | None = None) -> Judgement:
    errors = actual or [0.0]
    heldout = pd.DataFrame({"split": "random", "actual": errors, "predicted": [0.0] * len(errors)})
    metrics = pd.DataFrame(
        [("ridge", "random", "all", "rmse", rmse), ("mean", "random", "all", "rmse", mean)],
        columns=["candidate", "split", "slice", "metric", "value"],
    )
    return Judgement("ridge", heldout, metrics)


def test_metrics_of_known_errors() -> None:
    actual = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    predicted = np.array([1.0, 1.0, 5.0, 4.0, 7.0])
    assert judging.measure(actual, predicted) == {
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


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_every_row_is_held_out_once_a_split_by_a_model_that_had_not_seen_it(name: str, exposure: Exposure) -> None:
    rows = frame()
    training = trained_on(rows, exposure)
    made = judging.judge(candidate(name, training), training)
    assert made.heldout.groupby("split")["id"].nunique().to_dict() == {"random": 200, "group": 200}
    changed = rows.copy()
    changed.loc[7, "y"] += 1e6  # its own target must not show in its own held-out prediction
    training = trained_on(changed, exposure)
    again = judging.judge(candidate(name, training), training)
    own = [j.heldout[j.heldout["id"] == "k7"].set_index("split")["predicted"] for j in (made, again)]
    assert own[1].to_dict() == pytest.approx(own[0].to_dict(), rel=1e-12)


@pytest.mark.parametrize(("level", "expected"), [(0.5, 5.0), (0.8, 8.0), (0.9, 9.0), (0.99, 9.0)])
def test_the_half_width_is_the_conformal_quantile(level: float, expected: float) -> None:
    errors = [-9.0, 1.0, 2.0, -3.0, 4.0, 5.0, 6.0, -7.0, 8.0]  # nine of them: ranks ceil(10 level), at most 9
    assert judging.half_width(judgement(1.0, actual=errors), "random", level) == expected


def test_intervals_cover_new_rows_at_their_level(exposure: Exposure) -> None:
    training = trained_on(frame(2000), exposure)
    made = judging.judge(candidate("ridge", training), training)
    width = judging.half_width(made, "random", 0.9)
    assert width == pytest.approx(1.645, rel=0.05)  # the normal noise's


def test_a_first_model_must_beat_the_mean(exposure: Exposure) -> None:
    better, equal = gate.first(judgement(99.0), exposure), gate.first(judgement(100.0), exposure)
    assert (better.promoted, equal.promoted) == (True, False)
    assert equal.reason == ("no better than the mean predictor: held-out RMSE 100 (random folds), the mean's 100")


def test_a_refresh_may_be_worse_by_the_margin_and_no_more(exposure: Exposure) -> None:
    assert gate.refresh(judgement(104.9), 100.0, exposure).promoted
    refused = gate.refresh(judgement(106.0), 100.0, exposure)
    assert not refused.promoted
    assert refused.reason == ("refresh: held-out RMSE 106 (random folds), the champion's 100: +6.0%, allowed +5.0%")
