"""Whether a new version may serve: the first must beat the mean, a refresh must not be worse by more than a margin."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.spec import MEAN, Exposure

if TYPE_CHECKING:
    from ml.judging import Judgement


@dataclass(frozen=True)
class Verdict:
    """The gate's decision, with its numbers in words."""

    promoted: bool
    reason: str


def first(judgement: "Judgement", exposure: Exposure) -> Verdict:
    """A first model must have a smaller error than predicting the mean."""
    split = exposure.spec.split
    ours, mean = judgement.value(split, "rmse"), judgement.value(split, "rmse", MEAN)
    compared = f"held-out RMSE {ours:,.0f} ({split} folds), the mean's {mean:,.0f}"
    if ours < mean:
        return Verdict(True, f"first model, better than the mean predictor: {compared}")
    return Verdict(False, f"no better than the mean predictor: {compared}")


def refresh(judgement: "Judgement", champion_rmse: float, exposure: Exposure) -> Verdict:
    """The champion's recipe on new rows is promoted unless its error is worse by more than `refresh_margin`.

    Args:
        champion_rmse: The champion's held-out RMSE by the same split, when it was trained.
    """
    spec = exposure.spec
    ours = judgement.value(spec.split, "rmse")
    change = ours / champion_rmse - 1
    compared = (
        f"held-out RMSE {ours:,.0f} ({spec.split} folds), the champion's {champion_rmse:,.0f}: {change:+.1%}, "
        f"allowed {spec.refresh_margin:+.1%}"
    )
    return Verdict(change <= spec.refresh_margin, f"refresh: {compared}")
