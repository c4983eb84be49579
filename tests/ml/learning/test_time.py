"""Rows that are judged by what came before them: sums, held-out predictions, metrics, intervals; what is refused."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.learning import candidates, gate, intervals, judging, notes, training_set
from ml.learning.judgement import Judgement
from ml.learning.published import RowsError
from ml.linear import ridge
from ml.linear.moments import Moments
from ml.spec import MEAN, BacktestSpec, CandidateSpec
from tests.ml import mixed
from tests.ml.rows import candidate, published, silent, trained_on
from tests.ml.timed import exposure, frame

BACKTESTS = [{}, {"gap": "10 days"}, {"folds": 3, "gap": "1 month", "window": "rolling"}]
DAY = 24 * 3600 * 1_000_000


def days(rows: pd.DataFrame) -> Any:
    return (rows["at"] - pd.Timestamp("2026-01-01")).dt.days.to_numpy()


@pytest.mark.parametrize("backtest", BACKTESTS)
def test_sums_are_those_of_the_rows_of_a_period_and_of_what_its_fit_learns_from(backtest: dict[str, Any]) -> None:
    training = trained_on(frame(), exposure(backtest=backtest), threads=2)
    values = training.sample[["a", "b", "y"]].to_numpy()
    assert list(training.moments) == ["time"]
    assert training.folds("time") == list(range(1, len(training.moments["time"])))
    assert training.whole.n == 600
    for number in training.folds("time"):
        rows = {"held": training.fold("time") == number, "learned": training.learned("time", number)}
        assert training.times[rows["learned"]].max() < training.times[rows["held"]].min()
        sums = {"held": training.moments["time"][number], "learned": training.others("time", number)}
        for name, found in sums.items():
            expected = Moments.of(values[rows[name]])
            assert found.n == expected.n
            np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
            np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-9)


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
@pytest.mark.parametrize("backtest", BACKTESTS[1:])
def test_nothing_that_comes_later_changes_what_is_predicted(name: str, backtest: dict[str, Any]) -> None:
    rows, asked = frame(300), exposure(backtest=backtest)
    training = trained_on(rows, asked)
    expected = candidate(name, training).held_out("time")
    fold, cut = training.fold("time"), training.periods
    assert cut is not None
    assert np.isnan(expected[fold == 0]).all()
    assert np.isfinite(expected[fold > 0]).all()
    random = np.random.default_rng(1)
    for number in cut.folds:
        # the target of all that is in the gap and after it, and the features of all after the period itself
        gap, after = (training.times >= cut.ends[number - 1]), fold > number
        later = {name: training.sample["id"][chosen] for name, chosen in (("gap", gap), ("after", after))}
        changed = rows.assign(
            y=rows["y"].where(~rows["id"].isin(later["gap"]), rows["y"] * -7 + 1000),
            a=rows["a"].where(~rows["id"].isin(later["after"]), random.uniform(-50, 50, len(rows))),
        )
        found = candidate(name, trained_on(changed, asked)).held_out("time")
        np.testing.assert_allclose(found[fold == number], expected[fold == number], rtol=1e-9)
    # while what came before does
    changed = rows.assign(y=rows["y"] + np.where(rows["id"].isin(training.sample["id"][fold == 0]), 1000.0, 0.0))
    assert (candidate(name, trained_on(changed, asked)).held_out("time") != expected)[fold == 1].all()


def test_what_only_neighbours_in_time_know_does_not_help() -> None:
    """A target that wanders, and a clock: by chance the next days tell of a day, by time nothing does."""
    rows = frame(600, days=600).sort_values("at", ignore_index=True)
    rows["y"] = np.random.default_rng(3).normal(size=600).cumsum() * 10
    rows["a"] = days(rows).astype(float)
    rmse = {}
    for split in ("random", "time"):
        training = trained_on(rows, exposure(split=split))
        made = judging.judge(candidate("gradient_boosting", training), training)
        rmse[split] = made.value(split, "rmse")
    assert rmse["random"] < 20
    assert rmse["time"] > 60


def test_the_mean_predictor_knows_the_past_alone() -> None:
    training = trained_on(frame(300), exposure(backtest={"gap": "5 days"}))
    made = judging.judge(candidate("ridge", training), training)
    squared: list[float] = []
    for number in training.folds("time"):
        held, learned = training.fold("time") == number, training.learned("time", number)
        squared += ((training.target[held] - training.target[learned].mean()) ** 2).tolist()
    assert made.value("time", "rmse", MEAN) == pytest.approx(np.sqrt(np.mean(squared)), rel=1e-12)


def test_metrics_stand_by_period_and_add_up() -> None:
    training = trained_on(frame(), exposure(slices={"shop": "shop", "early": "\"at\" < timestamp '2026-01-05'"}))
    made = judging.judge(candidate("ridge", training), training)
    held = made.heldout
    assert sorted(set(held["fold"])) == [1, 2, 3, 4, 5]
    assert len(held) == int((training.fold("time") > 0).sum()) == len(made.losses("time", "rmse"))
    names = list(dict.fromkeys(made.metrics["slice"]))
    parts = [name for name in names if name.startswith("period: ")]
    assert len(parts) == 5
    assert parts[0].startswith("period: 2026-02-0")
    assert parts[-1].startswith("period: from 2026-06-")
    assert names[6:] == [*(f"shop: s{i}" for i in range(7)), "early: false"]  # of the early rows none is judged
    found = [made.values("time", of=name) for name in parts]
    assert sum(part["rows"] for part in found) == len(held)
    together = sum(part["rows"] * part["rmse"] ** 2 for part in found) / len(held)
    assert made.value("time", "rmse") == pytest.approx(np.sqrt(together), rel=1e-12)
    # before the first of them no error is known: it has no intervals, and no coverage
    assert held["lower"].isna().equals(held["fold"] == 1)
    assert [("coverage" in part) for part in found] == [False, True, True, True, True]
    inside = held["actual"].between(held["lower"], held["upper"])[held["fold"] > 1]
    assert made.value("time", "coverage") == pytest.approx(inside.mean(), rel=1e-12)


def drifting(growth: float, seed: int) -> tuple[pd.DataFrame, Any, Any, Any]:
    """Five periods of 2,000 rows, each with errors that are larger than those of the last by a factor."""
    random = np.random.default_rng(seed)
    fold = np.repeat(np.arange(1, 6), 2000)
    features = pd.DataFrame({"a": random.uniform(0, 10, len(fold))})
    predicted = 50 + 3 * features["a"].to_numpy()
    errors = (1 + features["a"].to_numpy()) * growth**fold * random.normal(size=len(fold))
    return features, predicted, predicted + errors, fold


@pytest.mark.parametrize("growth", [1.0, 1.1, 1.25])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_intervals_keep_their_level_where_errors_grow(growth: float, level: float) -> None:
    features, predicted, actual, fold = drifting(growth, 0)
    half, spread = intervals.over_time(features, predicted, actual, fold, level)
    covered = np.abs(actual - predicted) <= half
    assert np.isnan(half).tolist() == (fold == 1).tolist()
    assert covered[fold == 5].mean() == pytest.approx(level, abs=0.02)
    known = fold < 5
    exchangeable = intervals.fit(features[known], predicted[known], actual[known], fold[known], level)
    last = np.abs(actual - predicted) <= exchangeable.half_width(features, predicted)
    assert (abs(last[fold == 5].mean() - level) < 0.02) == (growth == 1.0)
    # those of what comes next are made in the same way
    after = (1 + features["a"]) * growth**6 * np.random.default_rng(9).normal(size=len(fold))
    assert np.mean(np.abs(after) <= spread.half_width(features, predicted)) == pytest.approx(level, abs=0.025)


def test_intervals_of_a_period_know_nothing_of_it_nor_of_what_came_after() -> None:
    features, predicted, actual, fold = drifting(1.1, 0)
    before, _ = intervals.over_time(features, predicted, actual, fold, 0.9)
    changed = np.where(fold >= 3, actual * -7 + 1000, actual)
    after, _ = intervals.over_time(features, predicted, changed, fold, 0.9)
    assert after[(fold > 1) & (fold <= 3)].tolist() == before[(fold > 1) & (fold <= 3)].tolist()
    assert (after[fold > 3] > before[fold > 3]).all()


def test_a_weighted_quantile_of_equal_weights_is_the_conformal_one() -> None:
    scores = np.random.default_rng(0).exponential(size=99)
    for level in (0.0, 0.1, 0.5, 0.9, 0.95, 0.999, 1.0):
        expected = intervals.conformal_quantile(scores, level) if level else scores.min()
        assert intervals.weighted_quantile(scores, np.ones(99), level) == expected
    # 1, 2, 3 weigh 1/2, 3 and 4 weigh 1: of 3.5 and the one to come, two thirds are reached by the third
    weights = np.array([1.0, 0.5, 0.5, 0.5, 1.0])
    assert intervals.weighted_quantile(np.array([4.0, 1.0, 2.0, 3.0, 3.5]), weights, 0.5) == 3.5


def test_ridge_s_penalty_by_folds_is_that_of_the_folds_of_time() -> None:
    training = trained_on(frame(120, noise=30.0), exposure(alpha_by="folds"))
    errors = []
    for number in training.folds("time"):
        held, learned = training.fold("time") == number, training.learned("time", number)
        for_each = []
        for alpha in candidates.ALPHAS:
            made = ridge.fit_moments(
                Moments.of(training.sample[["a", "b", "y"]].to_numpy()[learned]), float(alpha), training.terms
            )
            for_each.append(np.mean((made.predict(training.features[held]) - training.target[held]) ** 2))
        errors.append(for_each)
    best = candidates.ALPHAS[int(np.argmin(np.mean(errors, axis=0)))]
    assert candidate("ridge", training).fit().parameters == {"alpha": best}


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
@pytest.mark.parametrize("window", ["expanding", "rolling"])
def test_what_serves_learns_from_a_window_as_what_is_judged_does(name: str, window: str) -> None:
    rows, asked = frame(600), exposure(backtest={"window": window})
    training = trained_on(rows, asked)
    last = training.sample["id"][training.fold("time") == 5]
    changed = rows.assign(y=rows["y"].where(rows["id"].isin(last), rows["y"] * -7 + 500))
    served = {}
    for which, some in (("all", rows), ("changed", changed)):
        with duckdb.connect(config={"threads": 1}) as con:
            there = training_set.read(con, asked, published(con, some), silent)
            fitted = candidates.build(CandidateSpec(name=name), con, there, silent).fit()
        served[which] = fitted.estimator.predict(training.features.head(50))
    assert np.allclose(served["all"], served["changed"], rtol=1e-9) == (window == "rolling")
    learned = last if window == "rolling" else rows["id"]
    assert training.served.n == len(training.served_sample) == len(learned)


def test_a_challenge_draws_stretches_of_time_and_is_not_lost_in_a_period() -> None:
    asked = exposure()
    training = trained_on(frame(2000, noise=3.0), asked)
    ours = judging.judge(candidate("ridge", training), training)
    assert isinstance(ours, Judgement)
    blocks = training.judged_blocks("time")
    assert len(blocks) == len(ours.losses("time", "rmse"))
    of_day = pd.Series(blocks).groupby(training.times[training.judged("time")])
    assert of_day.nunique().max() == 1
    worse = replace(ours, heldout=ours.heldout.assign(predicted=ours.heldout["predicted"] + 5))
    errors = worse.losses("time", "rmse")
    table = ours.metrics.copy()
    table.loc[(table["slice"] == "all") & (table["metric"] == "rmse"), "value"] = float(np.sqrt(errors.mean()))
    # a period in which the challenger is much worse does not decide
    period = table["slice"].str.startswith("period: from") & (table["metric"] == "rmse")
    table.loc[period, "value"] = 0.1
    verdict = gate.challenge(ours, replace(worse, metrics=table), blocks, asked)
    assert verdict.promoted
    assert "(time folds)" in verdict.reason


def test_a_sample_has_all_periods_and_the_sums_all_rows() -> None:
    training = trained_on(frame(20_000), exposure(max_rows=1_000, group="shop", features={}))
    assert 850 < len(training.sample) < 1150
    assert np.bincount(training.fold("time")) == pytest.approx(len(training.sample) / 6, rel=0.25)
    assert training.whole.n == 20_000


def test_a_column_that_begins_later_than_the_table_is_learned_from() -> None:
    rows = frame(300)
    rows["b"] = rows["b"].where(days(rows) > 150)
    training = trained_on(rows, exposure())
    assert training.encoding is not None
    assert training.encoding.scarce == ["b"]
    for name in ("ridge", "gradient_boosting"):
        predicted = candidate(name, training).held_out("time")
        assert np.isfinite(predicted[training.judged("time")]).all()


@pytest.mark.parametrize(
    ("change", "backtest", "sentence"),
    [
        (
            lambda rows: rows.assign(at=rows["at"].where(rows.index > 2)),
            {},
            r"the time at is missing in 3 of 200 rows\. Fill it in where the table is built, or leave the rows out",
        ),
        (
            lambda rows: rows.assign(at=pd.Timestamp("2026-01-01") + pd.to_timedelta(rows.index % 4, unit="D")),
            {},
            r"column at has 4 distinct times, and 5 folds by time need 6\. Lower meta\.ml\.backtest\.folds",
        ),
        (
            lambda rows: rows,
            {"gap": "40 days"},
            r"a gap of 40 days before 2026-02-03 00:00:00, where fold 1 of 5 begins, leaves no rows to learn from\. "
            r"Shorten meta\.ml\.backtest\.gap, or lower meta\.ml\.backtest\.folds",
        ),
        (lambda rows: rows.head(3), {}, r"has 3 rows; 5 folds need at least as many.*lower meta\.ml\.backtest\.folds"),
    ],
)
def test_rows_that_cannot_be_cut_are_said(change: Any, backtest: dict[str, Any], sentence: str) -> None:
    with duckdb.connect() as con, pytest.raises(RowsError, match=sentence):
        training_set.read(con, exposure(backtest=backtest), published(con, change(frame(200))), silent)


@pytest.mark.parametrize("kind", ["date", "timestamp_s", "timestamp_ns", "timestamptz"])
def test_times_of_any_type_are_cut_alike(kind: str) -> None:
    expected = trained_on(frame(120), exposure()).sample[["id", "time fold"]]
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("set timezone = 'UTC'")
        there = published(con, frame(120))
        con.execute(f'alter table published alter "at" type {kind}')
        found = training_set.read(con, exposure(kind.upper()), there, silent).sample[["id", "time fold"]]
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_raw_columns_are_learned_from_the_past_too(name: str) -> None:
    """Levels that come later, and NULL in all that came before, are no hindrance."""
    rows, asked = mixed.frame(600), mixed.exposure()
    rows["since"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(600), unit="D")
    late = np.arange(600) > 350
    rows[mixed.WHERE] = rows[mixed.WHERE].where(late)
    rows[mixed.SIZE] = rows[mixed.SIZE].where(late)
    rows[mixed.SINCE] = rows[mixed.SINCE].where(late)
    spec = asked.spec.model_copy(update={"time": "since", "split": "time", "backtest": BacktestSpec(gap="20 days")})
    training = trained_on(rows, replace(asked, columns={**asked.columns, "since": "TIMESTAMP"}, spec=spec))
    made = judging.judge(candidate(name, training), training)
    assert made.heldout["predicted"].notna().all()
    # once half a year of them was seen
    last = [part for part in made.metrics["slice"].unique() if part.startswith("period: from")]
    assert made.value("time", "r2", of=last[0]) > 0.5


def test_an_endless_time_is_said() -> None:
    rows = frame(200)
    with duckdb.connect() as con:
        there = published(con, rows)
        con.execute("update published set \"at\" = 'infinity' where id = 'k00003'")
        with pytest.raises(RowsError, match="the time at is infinite in 1 of 200 rows"):
            training_set.read(con, exposure(), there, silent)


def test_a_table_with_a_time_that_is_split_by_chance_is_told_so() -> None:
    note = "the rows have a time, at, and are held out by chance: each fit knows what came after"
    by_chance = exposure(split="random")
    assert by_chance.features == ("a", "b")
    assert any(found.startswith(note) for found in notes.of_rows(trained_on(frame(), by_chance)))
    for asked in (exposure(), exposure(split="group", group="shop"), exposure(split="random", time=None)):
        assert not any(found.startswith(note) for found in notes.of_rows(trained_on(frame(), asked)))
