"""Whether a version may serve.

The first must beat the mean predictor, a refresh must not be worse by more than a margin, and a challenger must be
better by more than chance, and nowhere much worse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.arrays import Integers, Vector
from ml.exposures import PERIOD, Exposure
from ml.metrics import OF_RANKS, Metric, loss, loss_name
from ml.numbers import figure
from ml.spec import MEAN

if TYPE_CHECKING:
    from ml.learning.judgement import Judged
    from ml.learning.measures import Ranking

DRAWS = 5_000
# The same of metrics of ranks, which each draw computes anew: 200,000 rows take 5 ms a draw, recipe and class.
RANK_DRAWS = 500
# A first model must be better by more than rounding: of few rows, trees predict the mean itself.
LEAST_GAIN = 1e-9
# In a slice of fewer rows the error is mostly chance, and does not decide.
MIN_SLICE_ROWS = 100


@dataclass(frozen=True)
class Verdict:
    """The gate's decision, with its numbers in words."""

    promoted: bool
    reason: str


def first(judgement: "Judged", exposure: Exposure) -> Verdict:
    """A first model must lose less, by the spec's metric, than predicting the mean, or the share of each class."""
    split, metric = exposure.spec.split, exposure.metric
    ours, mean = judgement.loss(split, metric), judgement.loss(split, metric, MEAN)
    compared = f"held-out {loss_name(metric)} {figure(ours)} ({split} folds), the mean's {figure(mean)}"
    if ours < mean * (1 - LEAST_GAIN):
        return Verdict(True, f"first model, better than the mean predictor: {compared}")
    return Verdict(False, f"no better than the mean predictor: {compared}")


def refresh(judgement: "Judged", champion_loss: float, exposure: Exposure) -> Verdict:
    """The champion's recipe on new rows is promoted unless its loss is worse by more than `refresh_margin`.

    Args:
        champion_loss: The champion's held-out loss by the same split and metric, when it was trained.
    """
    return _no_worse("refresh", judgement, champion_loss, exposure)


def succession(judgement: "Judged", champion_loss: float, exposure: Exposure) -> Verdict:
    """Another recipe, where the champion's fails on the new rows, is promoted as a refresh is: the champion can serve.

    Args:
        champion_loss: As in `refresh`.
    """
    return _no_worse("the champion's recipe failed, and another follows", judgement, champion_loss, exposure)


def _no_worse(what: str, judgement: "Judged", champion_loss: float, exposure: Exposure) -> Verdict:
    spec, metric = exposure.spec, exposure.metric
    ours = judgement.loss(spec.split, metric)
    change = _growth(ours, champion_loss)
    compared = (
        f"held-out {loss_name(metric)} {figure(ours)} ({spec.split} folds), the champion's {figure(champion_loss)}: "
        f"{change:+.1%}, allowed {spec.refresh_margin:+.1%}"
    )
    return Verdict(change <= spec.refresh_margin, f"{what}: {compared}")


def challenge(
    challenger: "Judged",
    defender: "Judged",
    blocks: Integers,
    exposure: Exposure,
    weights: Vector | None = None,
) -> Verdict:
    """Another recipe than the champion's wins if it is better by more than chance; both are refitted on the same folds.

    Chance is that of drawing blocks of neighbouring rows with replacement (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 8): rows of a block err alike. No slice of the spec may get worse by more than
    `slice_margin`; a period may, which is no slice of the spec.

    Args:
        blocks: Of each held-out row, shape (rows,): the bucket of its group, or of its key where there are no groups;
            of rows held out by time, the stretch of time.
        weights: What each held-out row counts, shape (rows,); None where each counts once.
    """
    spec, metric = exposure.spec, exposure.metric
    split, name = spec.split, loss_name(exposure.metric)
    theirs, ours = defender.loss(split, metric), challenger.loss(split, metric)
    chance, draws = _chance(challenger, defender, metric, blocks, exposure, weights)
    compared = (
        f"{challenger.candidate} has held-out {name} {figure(ours)} ({split} folds), champion's recipe "
        f"{defender.candidate} {figure(theirs)}: {_growth(ours, theirs):+.1%}, no gain in {chance:.1%} of {draws:,} "
        f"draws of blocks, allowed {spec.significance:.1%}"
    )
    if chance >= spec.significance:
        return Verdict(False, f"challenge lost: {compared}")
    for part in dict.fromkeys(challenger.metrics["slice"]):
        before, now = (judgement.values(split, of=part) for judgement in (defender, challenger))
        if metric not in now or metric not in before:  # of one class, there is no order
            continue
        was, becomes = loss(metric, before[metric]), loss(metric, now[metric])
        change = _growth(becomes, was)
        told = split == "time" and part.startswith(f"{PERIOD}: ")
        if now["rows"] >= MIN_SLICE_ROWS and change > spec.slice_margin and not told:
            return Verdict(
                False,
                f"challenge lost in the slice {part}: {name} {figure(becomes)}, before {figure(was)}, "
                f"{change:+.1%}, allowed {spec.slice_margin:+.1%}; over all rows {compared}",
            )
    return Verdict(True, f"challenge won: {compared}")


def _chance(
    challenger: "Judged",
    defender: "Judged",
    metric: Metric,
    blocks: Integers,
    exposure: Exposure,
    weights: Vector | None,
) -> tuple[float, int]:
    """The chance of no gain, and the number of draws that it was counted over."""
    split, seed = exposure.spec.split, exposure.spec.seed
    if metric in OF_RANKS:
        theirs, ours = (judgement.rankings(split) for judgement in (defender, challenger))
        return chance_of_no_gain_in_rank(metric, theirs, ours, blocks, seed, weights), RANK_DRAWS
    counts = 1.0 if weights is None else weights
    before, now = (counts * judgement.losses(split, metric) for judgement in (defender, challenger))
    return chance_of_no_gain(before, now, blocks, seed), DRAWS


def _growth(now: float, before: float) -> float:
    """The share by which an error grew; infinite from none at all."""
    if before > 0:
        return now / before - 1
    return math.inf if now > 0 else 0.0


def chance_of_no_gain(before: Vector, now: Vector, blocks: Integers, seed: int) -> float:
    """The share of draws of blocks, with replacement, in which the mean loss did not fall.

    Args:
        before, now: Losses of the same rows, as squared errors, times what each row counts, shape (rows,).
        blocks: Of each row, shape (rows,).
    """
    _, block = np.unique(blocks, return_inverse=True)
    gains = np.bincount(block, weights=before - now)
    count = len(gains)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return float(np.mean(drawn @ gains <= 0))


def chance_of_no_gain_in_rank(
    metric: str,
    before: "Sequence[Ranking]",
    now: "Sequence[Ranking]",
    blocks: Integers,
    seed: int,
    counts: Vector | None = None,
) -> float:
    """The share of draws of blocks, with replacement, in which a metric of ranks did not rise; else as above.

    Draws that leave a side empty are not counted.

    Args:
        before, now: Rankings of the same rows.
        counts: What each row counts, shape (rows,); None where each counts once.
    """
    from ml.learning.measures import mean_rank

    _, block = np.unique(blocks, return_inverse=True)
    count = block.max() + 1
    gains = []
    for drawn in np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RANK_DRAWS):
        weights = drawn[block] * (1.0 if counts is None else counts)
        gains.append(mean_rank(metric, now, weights) - mean_rank(metric, before, weights))
    counted = [gain for gain in gains if not math.isnan(gain)]
    return float(np.mean(np.array(counted) <= 0)) if counted else 1.0
