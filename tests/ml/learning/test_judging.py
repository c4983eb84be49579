"""Metrics, intervals and the gate, on small frames with known answers."""

import re
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from ml.exposures import Exposure
from ml.learning import candidates, gate, judging
from ml.learning.intervals import ExpectedError, Spread
from ml.learning.judging import Judgement
from ml.learning.training_set import RowsError, TrainingSet
from ml.spec import CandidateSpec
from tests.ml.conftest import POINTS
from tests.ml.rows import candidate, frame, silent, trained_on


def judgement(rmse: float, mean: float = 100.0, actual: list[float] | None = None) -> Judgement:
    errors = actual or [0.0]
    heldout = pd.DataFrame({"split": "random", "actual": errors, "predicted": [0.0] * len(errors)})
    metrics = pd.DataFrame(
        [("ridge", "random", "all", "rmse", rmse), ("mean", "random", "all", "rmse", mean)],
        columns=["candidate", "split", "slice", "metric", "value"],
    )
    return Judgement("ridge", heldout, metrics, Spread(1.0, ExpectedError(0.0, {}, 1.0, 1.0)))


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


def test_a_first_model_must_beat_the_mean(exposure: Exposure) -> None:
    better, equal = gate.first(judgement(99.0), exposure), gate.first(judgement(100.0), exposure)
    assert (better.promoted, equal.promoted) == (True, False)
    assert equal.reason == ("no better than the mean predictor: held-out RMSE 100 (random folds), the mean's 100")


def test_a_refresh_may_be_worse_by_the_margin_and_no_more(exposure: Exposure) -> None:
    assert gate.refresh(judgement(104.9), 100.0, exposure).promoted
    refused = gate.refresh(judgement(106.0), 100.0, exposure)
    assert not refused.promoted
    assert refused.reason == ("refresh: held-out RMSE 106 (random folds), the champion's 100: +6.0%, allowed +5.0%")


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


def contest(gain: float, hurt: float = 0.0) -> gate.Verdict:
    """A challenger whose errors are smaller by a share `gain`, and larger by `hurt` in the slice `few`."""
    random = np.random.default_rng(1)
    rows, blocks = 2000, 50
    actual, error = np.zeros(rows), random.normal(size=rows)
    inside = np.arange(rows) < 200
    now = error * (1 - gain) * np.where(inside, 1 + hurt, 1) + 0.1 * random.normal(size=rows)
    made = []
    for name, errors in (("old", error), ("new", now)):
        heldout = pd.DataFrame({"split": "random", "actual": actual, "predicted": errors})
        metrics = [
            {"candidate": name, "split": "random", "slice": part, "metric": metric, "value": value}
            for part, held in (("all", np.ones(rows, bool)), ("size: few", inside))
            for metric, value in judging.measure(actual[held], errors[held]).items()
        ]
        made.append(Judgement(name, heldout, pd.DataFrame(metrics), Spread(1.0, ExpectedError(0.0, {}, 1.0, 1.0))))
    old, new = made
    return gate.challenge(new, old, np.arange(rows) % blocks, POINTS)


def test_a_challenger_that_is_better_by_more_than_chance_wins_and_says_by_how_much() -> None:
    verdict = contest(0.1)
    assert verdict.promoted
    assert re.fullmatch(
        r"challenge won: new has held-out RMSE [\d.]+ \(random folds\), champion's recipe old [\d.]+: -9\.\d%, "
        r"no gain in 0\.0% of 5,000 draws of blocks, allowed 5\.0%",
        verdict.reason,
    )


def test_a_challenger_that_is_better_by_chance_alone_loses() -> None:
    verdict = contest(0.0)
    assert not verdict.promoted
    assert verdict.reason.startswith("challenge lost: new has held-out RMSE")


def test_a_challenger_that_is_much_worse_somewhere_loses() -> None:
    verdict = contest(0.2, hurt=0.5)
    assert not verdict.promoted
    assert verdict.reason.startswith("challenge lost in the slice size: few: RMSE")
    assert "allowed +5.0%; over all rows new has held-out RMSE" in verdict.reason


def test_a_challenger_that_is_worse_loses() -> None:
    verdict = contest(-0.1)
    assert not verdict.promoted
    lost = r"challenge lost: new has held-out RMSE [\d.]+ .*: \+1\d\.\d%, no gain in 100\.0% of"
    assert re.match(lost, verdict.reason)


def judged(training: TrainingSet, name: str, estimator: str, **parameters: int) -> Judgement:
    recipe = CandidateSpec(name=name, estimator=estimator, parameters=parameters)
    with duckdb.connect() as con:
        return judging.judge(candidates.build(recipe, con, training, silent), training)


@pytest.mark.slow
def test_a_lucky_split_wins_no_more_often_than_the_level_allows_and_a_better_recipe_wins() -> None:
    # Trees that split at random, alike but for their random_state: equally good in truth, one better on any folds.
    # Twenty fair contests at the level of 0.05 are won Binomial(20, 0.05) times, in 98 of 100 cases at most 3 times.
    columns = {name: kind for name, kind in POINTS.columns.items() if name != "cell"}
    alone = replace(POINTS, columns=columns, spec=POINTS.spec.model_copy(update={"group": None, "folds": 2}))
    blocks = np.arange(600) % 60  # rows that err alike by chance only; 600 blocks would take ten times as long to draw
    lucky = better = 0
    for seed in range(20):
        training = trained_on(frame(600, seed, noise=5.0), alone)
        one, other = (
            judged(training, n, "sklearn.tree.ExtraTreeRegressor", random_state=i) for i, n in enumerate("ab")
        )
        lucky += gate.challenge(other, one, blocks, alone).promoted
        line = judged(training, "line", "sklearn.linear_model.LinearRegression")
        better += gate.challenge(line, one, blocks, alone).promoted
    assert lucky <= binom.ppf(0.95, 20, alone.spec.significance) == 3
    assert better == 20


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
    without_unit = judgement.metrics["metric"].isin(["rows", "r2", "coverage"])
    expected = judgement.metrics["value"].where(without_unit, judgement.metrics["value"] * 1000)
    np.testing.assert_allclose(thousandfold.metrics["value"], expected, rtol=within)
    predicted = (estimator.predict(rows[["a", "b"]]) for estimator in (fitted.estimator, refitted.estimator))
    np.testing.assert_allclose(next(predicted) * 1000, next(predicted), rtol=within)


def test_the_chance_is_counted_over_draws_of_blocks() -> None:
    # one block gains 3, one loses 1: of the four draws of two, only that of the loser twice has no gain
    before, now = np.array([4.0, 1.0]), np.array([1.0, 2.0])
    assert gate.chance_of_no_gain(before, now, np.array([0, 1]), seed=0) == pytest.approx(0.25, abs=0.02)
    assert gate.chance_of_no_gain(now, before, np.array([0, 1]), seed=0) == pytest.approx(0.75, abs=0.02)


@pytest.mark.slow
def test_recipes_that_are_equally_good_are_told_apart_at_the_level_asked_for() -> None:
    random = np.random.default_rng(0)
    blocks = np.arange(1000) % 40
    wins = 0
    for seed in range(200):
        effect = random.normal(size=(40, 2))[blocks]  # rows of a block err alike
        before, now = np.square(random.normal(size=(1000, 2)) + effect).T
        wins += gate.chance_of_no_gain(before, now, blocks, seed) < 0.05
    assert wins / 200 == pytest.approx(0.05, abs=0.04)
