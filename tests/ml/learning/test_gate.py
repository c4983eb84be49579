"""Who may serve: a first model, a refresh, a challenger, on errors with known answers."""

import re
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from ml.exposures import Exposure
from ml.learning import candidates, gate, judging, measures
from ml.learning.intervals import ExpectedError, Spread
from ml.learning.judgement import Judged, Judgement
from ml.learning.measures import Ranking
from ml.learning.training_set import TrainingSet
from ml.numbers import figure
from ml.spec import CandidateSpec
from tests.ml.classes import exposure as of_classes
from tests.ml.classes import noisy
from tests.ml.conftest import POINTS
from tests.ml.rows import frame, silent, trained_on


def judgement(rmse: float, mean: float = 100.0, actual: list[float] | None = None) -> Judgement:
    errors = actual or [0.0]
    heldout = pd.DataFrame({"split": "random", "actual": errors, "predicted": [0.0] * len(errors)})
    metrics = pd.DataFrame(
        [("ridge", "random", "all", "rmse", rmse), ("mean", "random", "all", "rmse", mean)],
        columns=["candidate", "split", "slice", "metric", "value"],
    )
    return Judgement("ridge", heldout, metrics, Spread(1.0, ExpectedError(0.0, {}, 1.0, 1.0)))


def test_a_first_model_must_beat_the_mean(exposure: Exposure) -> None:
    better, equal = gate.first(judgement(99.0), exposure), gate.first(judgement(100.0), exposure)
    assert (better.promoted, equal.promoted) == (True, False)
    assert equal.reason == ("no better than the mean predictor: held-out RMSE 100 (random folds), the mean's 100")


def test_a_first_model_that_is_the_mean_but_for_rounding_is_no_better(exposure: Exposure) -> None:
    assert not gate.first(judgement(100.0 * (1 - 1e-15)), exposure).promoted


def test_who_follows_a_champion_whose_recipe_fails_may_be_worse_by_the_margin(exposure: Exposure) -> None:
    assert gate.succession(judgement(104.9), 100.0, exposure).promoted
    refused = gate.succession(judgement(106.0), 100.0, exposure)
    assert not refused.promoted
    assert refused.reason == (
        "the champion's recipe failed, and another follows: held-out RMSE 106 (random folds), the champion's 100: "
        "+6.0%, allowed +5.0%"
    )


def test_a_refresh_may_be_worse_by_the_margin_and_no_more(exposure: Exposure) -> None:
    assert gate.refresh(judgement(104.9), 100.0, exposure).promoted
    refused = gate.refresh(judgement(106.0), 100.0, exposure)
    assert not refused.promoted
    assert refused.reason == ("refresh: held-out RMSE 106 (random folds), the champion's 100: +6.0%, allowed +5.0%")


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
            for metric, value in measures.of_numbers(actual[held], errors[held]).items()
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


def judged(training: TrainingSet, name: str, estimator: str, **parameters: int) -> Judged:
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
@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_a_lucky_split_of_classes_wins_no_more_often_than_the_level_allows(metric: str) -> None:
    # as of numbers; what is drawn of ranks takes longer: fewer contests
    contests = 20 if metric == "log_loss" else 10
    blocks = np.arange(600) % 60
    lucky = better = 0
    for seed in range(contests):
        rows = noisy(600, seed, noise=0.5)
        asked = of_classes(rows, folds=2, metric=metric)
        training = trained_on(rows, asked)
        one, other = (
            judged(training, name, "sklearn.tree.ExtraTreeClassifier", random_state=i) for i, name in enumerate("ab")
        )
        lucky += gate.challenge(other, one, blocks, asked).promoted
        line = judged(training, "line", "sklearn.linear_model.LogisticRegression")
        better += gate.challenge(line, one, blocks, asked).promoted
    assert lucky <= binom.ppf(0.95, contests, asked.spec.significance)
    assert better == contests


def test_the_gate_judges_by_the_spec_s_metric_as_a_loss() -> None:
    by = POINTS.spec.model_copy(update={"metric": "mae"})
    verdict = gate.first(judgement(1.0), replace(POINTS, spec=POINTS.spec))
    assert "held-out RMSE" in verdict.reason
    table = pd.DataFrame(
        [("ridge", "random", "all", "mae", 5.0), ("mean", "random", "all", "mae", 4.0)],
        columns=["candidate", "split", "slice", "metric", "value"],
    )
    refused = gate.first(replace(judgement(1.0), metrics=table), replace(POINTS, spec=by))
    assert refused.reason == "no better than the mean predictor: held-out MAE 5 (random folds), the mean's 4"


@pytest.mark.parametrize(
    ("metric", "name"), [("accuracy", "1 - accuracy"), ("roc_auc", "1 - ROC AUC"), ("brier_score", "Brier score")]
)
def test_of_metrics_where_more_is_better_the_rest_is_lost(metric: str, name: str) -> None:
    rows = noisy(600, noise=0.5)
    asked = of_classes(rows, metric=metric, slices={"side": "b > 0"})
    training = trained_on(rows, asked)
    line, weak = (
        judged(training, "line", "sklearn.linear_model.LogisticRegression"),
        judged(training, "weak", "sklearn.tree.ExtraTreeClassifier", max_depth=2, random_state=0),
    )
    value = line.value("random", metric)
    lost = value if metric == "brier_score" else 1 - value
    assert line.loss("random", metric) == pytest.approx(lost)
    assert gate.first(line, asked).reason.startswith(
        f"first model, better than the mean predictor: held-out {name} {figure(lost)} (random folds), the mean's"
    )
    assert gate.refresh(line, lost / 1.2, asked).promoted is False
    assert gate.refresh(line, lost / 1.04, asked).promoted is True
    won = gate.challenge(line, weak, training.blocks, asked)
    assert won.promoted
    draws = "500" if metric == "roc_auc" else "5,000"
    assert f"line has held-out {name} {figure(lost)}" in won.reason and f"of {draws} draws" in won.reason
    lost_in_turn = gate.challenge(weak, line, training.blocks, asked)
    assert lost_in_turn.reason.startswith(f"challenge lost: weak has held-out {name}")


def test_the_chance_of_ranks_is_counted_over_draws_of_blocks() -> None:
    # each block has one row of each class; the scores of block 0 alone become better, of block 1 worse
    inside = np.array([True, False, True, False])
    before, now = (Ranking(inside, np.array(scores)) for scores in ([1.0, 2, 4, 3], [2.0, 1, 4, 3]))
    blocks = np.array([0, 0, 1, 1])
    # of the draws of two blocks, only that of block 1 twice has no gain
    chance = gate.chance_of_no_gain_in_rank("roc_auc", [before], [now], blocks, seed=0)
    assert chance == pytest.approx(0.25, abs=0.06)
    assert gate.chance_of_no_gain_in_rank("roc_auc", [now], [before], blocks, seed=0) == 1.0


@pytest.mark.parametrize("metric", ["rmse", "log_loss", "roc_auc"])
def test_a_challenger_is_judged_by_the_weight_of_rows(metric: str) -> None:
    """It is better where rows count much, and much worse in as many that count little."""
    random = np.random.default_rng(0)
    heavy = np.arange(600) % 2 == 0
    weights, blocks = np.where(heavy, 50.0, 1.0), np.arange(600) % 60
    if metric == "roc_auc":
        inside = random.random(600) < 0.5
        told = np.where(inside, 1.0, 0.0) + random.normal(size=600)
        noise = random.normal(size=600)
        before = [Ranking(inside, np.where(heavy, told + 2 * noise, told * 3))]
        now = [Ranking(inside, np.where(heavy, told, noise))]
        unweighted = gate.chance_of_no_gain_in_rank(metric, before, now, blocks, 0)
        assert gate.chance_of_no_gain_in_rank(metric, before, now, blocks, 0, weights) < 0.05 < unweighted
        return
    before_losses, now_losses = np.ones(600), np.where(heavy, 0.8, 3.0) + 0.1 * random.normal(size=600)
    assert gate.chance_of_no_gain(before_losses, now_losses, blocks, 0) == 1.0
    assert gate.chance_of_no_gain(weights * before_losses, weights * now_losses, blocks, 0) == 0.0


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
