"""How good a candidate is: predictions of held-out rows with their intervals, and the metrics computed from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.arrays import Vector
from ml.learning import class_judging, intervals, judgement, measures
from ml.learning.candidates import Candidate
from ml.learning.judgement import ALL, Judged, Judgement
from ml.learning.training_set import TrainingSet
from ml.spec import MEAN
from ml.weights import taken


def judge(candidate: Candidate, training: TrainingSet, splits: Sequence[str] = ()) -> Judged:
    """Hold out every sampled row once for each split, by fits that have not seen the row's fold.

    Both splits are judged where the spec names a group; the gate decides by the spec's own. By time, those of the
    first period are not held out.

    Args:
        splits: Those to judge by; all where none is named.

    Raises:
        EstimatorError: The candidate cannot be fitted, or does not predict.
        RowsError: The spec's metric cannot be computed of the held-out rows.
    """
    judge_kind = class_judging.judge if training.classes else _judge
    return judge_kind(candidate, training, splits or tuple(training.moments))


def _judge(candidate: Candidate, training: TrainingSet, splits: Sequence[str]) -> Judgement:
    spec = training.exposure.spec
    heldout, metrics, spread = [], [], None
    for split in splits:
        judged = training.judged(split)
        actual: Vector = np.asarray(training.target, np.float64)[judged]
        slices = {name: rows[judged] for name, rows in training.slices().items() if rows[judged].any()}
        numbers, fold = training.numbers[judged], training.fold(split)[judged]
        predicted, weights = candidate.held_out(split)[judged], training.judged_weights(split)
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
            measured = measures.of_numbers(actual[rows], predicted[rows], taken(weights, rows))
            if name == ALL:
                measured["sampled_from"] = float(training.heldout_rows(split))
            if (known := rows & ~np.isnan(half)).any():
                measured["coverage"] = float(np.mean((lower <= actual) & (actual <= upper), where=known))
                measured["mean_width"] = float(np.mean(upper - lower, where=known))
            metrics.append((candidate.name, split, name, measured))
        metrics.append((MEAN, split, ALL, measures.of_numbers(actual, mean, weights)))
        if split == "time":
            spread = found
        elif split == spec.split:
            spread = intervals.fit(numbers, predicted, actual, fold, spec.coverage, spec.minimum, training.fills)
    return Judgement(candidate.name, pd.concat(heldout, ignore_index=True), judgement.table(metrics), spread)
