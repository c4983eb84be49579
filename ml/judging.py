"""How good a candidate is: predictions of held-out rows, and the metrics computed from them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from ml.candidates import Candidate
from ml.moments import complement
from ml.spec import MEAN
from ml.training_set import TrainingSet

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judgement:
    """A candidate's held-out predictions and its metrics.

    Attributes:
        heldout: A row per split and key: candidate, split, fold, the key, actual, predicted.
        metrics: A row per candidate (itself and `mean`), split, slice and metric, with its value.
    """

    candidate: str
    heldout: pd.DataFrame
    metrics: pd.DataFrame

    def values(self, split: str, candidate: str | None = None) -> dict[str, float]:
        """The metrics over all rows by name; of the candidate itself, or of `mean`."""
        table = self.metrics
        rows = table[
            (table["candidate"] == (candidate or self.candidate))
            & (table["split"] == split)
            & (table["slice"] == "all")
        ]
        return dict(zip(rows["metric"], rows["value"], strict=True))

    def value(self, split: str, metric: str, candidate: str | None = None) -> float:
        """One of `values`."""
        return self.values(split, candidate)[metric]


def measure(actual: Vector, predicted: Vector) -> dict[str, float]:
    """The metrics of predictions of shape (rows,), and how many rows; errors in the target's unit."""
    error = np.abs(actual - predicted)
    return {
        "rows": float(len(actual)),
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        "r2": float(r2_score(actual, predicted)),
        "median_absolute_error": float(median_absolute_error(actual, predicted)),
        "p90_absolute_error": float(np.quantile(error, 0.9)),
    }


def judge(candidate: Candidate, training: TrainingSet) -> Judgement:
    """Hold out every sampled row once for each split, by fits that have not seen the row's fold.

    Both splits are judged where the spec names a group: the gate looks at the spec's own, the other stands beside it.
    """
    key = training.exposure.spec.key
    actual: Vector = np.asarray(training.target, np.float64)
    heldout, metrics = [], []
    for split, moments in training.moments.items():
        fold = training.fold(split)
        predicted = candidate.held_out(split)
        means = {number: float(complement(moments, number).mean[-1]) for number in moments}
        mean: Vector = np.array([means[number] for number in fold], np.float64)
        heldout.append(
            pd.DataFrame(
                {
                    "candidate": candidate.name,
                    "split": split,
                    "fold": fold,
                    key: training.sample[key],
                    "actual": actual,
                    "predicted": predicted,
                }
            )
        )
        for name, values in ((candidate.name, predicted), (MEAN, mean)):
            metrics += [
                {"candidate": name, "split": split, "slice": "all", "metric": metric, "value": value}
                for metric, value in measure(actual, values).items()
            ]
    return Judgement(candidate.name, pd.concat(heldout, ignore_index=True), pd.DataFrame(metrics))


def half_width(judgement: Judgement, split: str, level: float) -> float:
    """Half the width of the interval that covers a share `level` of new rows, in the target's unit.

    The conformal quantile of held-out absolute errors: the ceil((n + 1) level)-th smallest of n (Vovk, Gammerman and
    Shafer, Algorithmic Learning in a Random World, 2005); the largest where that exceeds n.
    """
    held = judgement.heldout[judgement.heldout["split"] == split]
    errors = np.sort(np.abs(held["actual"].to_numpy() - held["predicted"].to_numpy()))
    rank = int(np.ceil((len(errors) + 1) * level))
    return float(errors[min(rank, len(errors)) - 1])
