"""How good a candidate is: predictions of held-out rows with their intervals, and the metrics computed from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from ml.arrays import Vector
from ml.learning import intervals
from ml.learning.candidates import Candidate
from ml.learning.intervals import Spread
from ml.learning.training_set import TrainingSet
from ml.spec import MEAN

ALL = "all"


@dataclass(frozen=True)
class Judgement:
    """A candidate's held-out predictions and its metrics.

    Attributes:
        heldout: A row per split and key: candidate, split, fold, the key, actual, predicted, lower, upper; these two
            NaN where nothing was known yet of how far errors reach.
        metrics: A row per candidate (itself and `mean`), split, slice and metric, with its value.
        spread: Learned from all held-out rows of the spec's split; it makes the intervals. None where
            another was judged.
    """

    candidate: str
    heldout: pd.DataFrame
    metrics: pd.DataFrame
    spread: Spread | None

    def values(self, split: str, candidate: str | None = None, of: str = ALL) -> dict[str, float]:
        """The metrics over all rows, or over a slice, by name; of the candidate itself, or of `mean`."""
        table = self.metrics
        rows = table[
            (table["candidate"] == (candidate or self.candidate)) & (table["split"] == split) & (table["slice"] == of)
        ]
        return dict(zip(rows["metric"], rows["value"], strict=True))

    def value(self, split: str, metric: str, candidate: str | None = None, of: str = ALL) -> float:
        """One of `values`."""
        return self.values(split, candidate, of)[metric]

    def squared_errors(self, split: str) -> Vector:
        """Of each held-out row, shape (held-out rows,), in the order of the training set's sample."""
        held = self.heldout[self.heldout["split"] == split]
        errors: Vector = np.asarray(held["actual"] - held["predicted"], np.float64)
        return np.square(errors)


def measure(actual: Vector, predicted: Vector) -> dict[str, float]:
    """The metrics of predictions of shape (rows,), and how many rows; errors in the target's unit."""
    error = np.abs(actual - predicted)
    return {
        "rows": float(len(actual)),
        "rmse": float(root_mean_squared_error(actual, predicted)),
        "mae": float(mean_absolute_error(actual, predicted)),
        **({"r2": float(r2_score(actual, predicted))} if len(actual) > 1 else {}),  # of one row there is none
        "median_absolute_error": float(median_absolute_error(actual, predicted)),
        "p90_absolute_error": float(np.quantile(error, 0.9)),
    }


def judge(candidate: Candidate, training: TrainingSet, splits: Sequence[str] = ()) -> Judgement:
    """Hold out every sampled row once for each split, by fits that have not seen the row's fold.

    Both splits are judged where the spec names a group; the gate decides by the spec's own. By time, those of the
    first period are not held out.

    Args:
        splits: Those to judge by; all where none is named.
    """
    spec = training.exposure.spec
    heldout, metrics, spread = [], [], None
    for split in splits or training.moments:
        judged = training.judged(split)
        actual: Vector = np.asarray(training.target, np.float64)[judged]
        slices = {name: rows[judged] for name, rows in training.slices().items() if rows[judged].any()}
        numbers, fold = training.numbers[judged], training.fold(split)[judged]
        predicted = candidate.held_out(split)[judged]
        if split == "time":
            half, found = intervals.over_time(
                numbers, predicted, actual, fold, spec.coverage, spec.minimum, training.fills
            )
        else:
            half = intervals.held_out_half_widths(numbers, predicted, actual, fold, spec.coverage)
        lower, upper = intervals.ends(predicted, half, spec.minimum)
        heldout.append(
            pd.DataFrame(
                {
                    "candidate": candidate.name,
                    "split": split,
                    "fold": fold,
                    **{name: training.sample[name][judged] for name in spec.key_columns},
                    "actual": actual,
                    "predicted": predicted,
                    "lower": lower,
                    "upper": upper,
                }
            )
        )
        means = {number: float(training.others(split, number).mean[-1]) for number in training.folds(split)}
        mean: Vector = np.array([means[number] for number in fold], np.float64)
        for name, rows in slices.items():
            measured = measure(actual[rows], predicted[rows])
            if (known := rows & ~np.isnan(half)).any():
                measured["coverage"] = float(np.mean((lower <= actual) & (actual <= upper), where=known))
                measured["mean_width"] = float(np.mean(upper - lower, where=known))
            metrics.append((candidate.name, split, name, measured))
        metrics.append((MEAN, split, ALL, measure(actual, mean)))
        if split == "time":
            spread = found
        elif split == spec.split:
            spread = intervals.fit(numbers, predicted, actual, fold, spec.coverage, spec.minimum, training.fills)
    return Judgement(candidate.name, pd.concat(heldout, ignore_index=True), _table(metrics), spread)


def _table(metrics: Sequence[tuple[str, str, str, Mapping[str, float]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"candidate": candidate, "split": split, "slice": name, "metric": metric, "value": value}
            for candidate, split, name, measured in metrics
            for metric, value in measured.items()
        ]
    )
