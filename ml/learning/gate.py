"""Whether a version may serve.

The first must beat the mean predictor, a refresh must not be worse by more than a margin, and a challenger must be
better by more than chance, and nowhere much worse.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.arrays import Integers, Vector
from ml.exposures import PERIOD, Exposure
from ml.numbers import figure
from ml.spec import MEAN

if TYPE_CHECKING:
    from ml.learning.judging import Judgement

DRAWS = 5_000
# A first model must be better by more than rounding: of few rows, trees predict the mean itself.
LEAST_GAIN = 1e-9
# In a slice of fewer rows the error is mostly chance, and does not decide.
MIN_SLICE_ROWS = 100


@dataclass(frozen=True)
class Verdict:
    """The gate's decision, with its numbers in words."""

    promoted: bool
    reason: str


def first(judgement: "Judgement", exposure: Exposure) -> Verdict:
    """A first model must have a smaller error than predicting the mean."""
    split = exposure.spec.split
    ours, mean = judgement.value(split, "rmse"), judgement.value(split, "rmse", MEAN)
    compared = f"held-out RMSE {figure(ours)} ({split} folds), the mean's {figure(mean)}"
    if ours < mean * (1 - LEAST_GAIN):
        return Verdict(True, f"first model, better than the mean predictor: {compared}")
    return Verdict(False, f"no better than the mean predictor: {compared}")


def refresh(judgement: "Judgement", champion_rmse: float, exposure: Exposure) -> Verdict:
    """The champion's recipe on new rows is promoted unless its error is worse by more than `refresh_margin`.

    Args:
        champion_rmse: The champion's held-out RMSE by the same split, when it was trained.
    """
    return _no_worse("refresh", judgement, champion_rmse, exposure)


def succession(judgement: "Judgement", champion_rmse: float, exposure: Exposure) -> Verdict:
    """Another recipe, where the champion's fails on the new rows, is promoted as a refresh is: the champion can serve.

    Args:
        champion_rmse: As in `refresh`.
    """
    return _no_worse("the champion's recipe failed, and another follows", judgement, champion_rmse, exposure)


def _no_worse(what: str, judgement: "Judgement", champion_rmse: float, exposure: Exposure) -> Verdict:
    spec = exposure.spec
    ours = judgement.value(spec.split, "rmse")
    change = _growth(ours, champion_rmse)
    compared = (
        f"held-out RMSE {figure(ours)} ({spec.split} folds), the champion's {figure(champion_rmse)}: {change:+.1%}, "
        f"allowed {spec.refresh_margin:+.1%}"
    )
    return Verdict(change <= spec.refresh_margin, f"{what}: {compared}")


def challenge(challenger: "Judgement", defender: "Judgement", blocks: Integers, exposure: Exposure) -> Verdict:
    """Another recipe than the champion's wins if it is better by more than chance; both are refitted on the same folds.

    Chance is that of drawing blocks of neighbouring rows with replacement (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 8): rows of a block err alike. No slice of the spec may get worse by more than
    `slice_margin`; a period may, which is no slice of the spec.

    Args:
        blocks: Of each held-out row, shape (rows,): the bucket of its group, or of its key where there are no groups;
            of rows held out by time, the stretch of time.
    """
    spec = exposure.spec
    split = spec.split
    theirs, ours = defender.value(split, "rmse"), challenger.value(split, "rmse")
    chance = chance_of_no_gain(defender.squared_errors(split), challenger.squared_errors(split), blocks, spec.seed)
    compared = (
        f"{challenger.candidate} has held-out RMSE {figure(ours)} ({split} folds), champion's recipe "
        f"{defender.candidate} {figure(theirs)}: {_growth(ours, theirs):+.1%}, no gain in {chance:.1%} of {DRAWS:,} "
        f"draws of blocks, allowed {spec.significance:.1%}"
    )
    if chance >= spec.significance:
        return Verdict(False, f"challenge lost: {compared}")
    for name in dict.fromkeys(challenger.metrics["slice"]):
        before, now = (judgement.values(split, of=name) for judgement in (defender, challenger))
        change = _growth(now["rmse"], before["rmse"])
        told = split == "time" and name.startswith(f"{PERIOD}: ")
        if now["rows"] >= MIN_SLICE_ROWS and change > spec.slice_margin and not told:
            return Verdict(
                False,
                f"challenge lost in the slice {name}: RMSE {figure(now['rmse'])}, before {figure(before['rmse'])}, "
                f"{change:+.1%}, allowed {spec.slice_margin:+.1%}; over all rows {compared}",
            )
    return Verdict(True, f"challenge won: {compared}")


def _growth(now: float, before: float) -> float:
    """The share by which an error grew; infinite from none at all."""
    if before > 0:
        return now / before - 1
    return math.inf if now > 0 else 0.0


def chance_of_no_gain(before: Vector, now: Vector, blocks: Integers, seed: int) -> float:
    """The share of draws of blocks, with replacement, in which the mean squared error did not fall.

    Args:
        before, now: Squared errors of the same rows, shape (rows,).
        blocks: Of each row, shape (rows,).
    """
    _, block = np.unique(blocks, return_inverse=True)
    gains = np.bincount(block, weights=before - now)
    count = len(gains)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return float(np.mean(drawn @ gains <= 0))
