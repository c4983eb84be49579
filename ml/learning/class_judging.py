"""How good a candidate for classes is: calibrated probabilities of held-out rows with their sets, and their metrics."""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from ml import classes
from ml.arrays import Integers, Mask, Matrix
from ml.learning import calibration, judgement, measures, sets
from ml.learning.candidates import Candidate
from ml.learning.classification import Classification
from ml.learning.judgement import ALL, ClassJudgement, Held
from ml.learning.published import RowsError
from ml.learning.training_set import TrainingSet
from ml.metrics import OF_RANKS
from ml.spec import MEAN
from ml.weights import taken


def judge(candidate: Candidate, training: TrainingSet, splits: Sequence[str]) -> ClassJudgement:
    """See `judging.judge`."""
    exposure = training.exposure
    spec = exposure.spec
    positive = classes.positive(spec.positive, training.classes)
    place = None if positive is None else training.classes.index(positive)
    held: dict[str, Held] = {}
    metrics, classification = [], None
    for split in splits:
        judged = training.judged(split)
        codes, fold = training.codes[judged], training.fold(split)[judged]
        raw = candidate.held_out(split)[judged]
        known, weights = _seen(training, split)[judged], training.judged_weights(split)
        by_time = split == "time"
        with threadpool_limits(limits=1):
            calibrated = (calibration.over_time if by_time else calibration.held_out)(raw, codes, fold, known, weights)
            if by_time:
                quantiles, quantile = sets.over_time(calibrated, codes, fold, spec.coverage)
            else:
                quantiles = sets.held_out(calibrated, codes, fold, spec.coverage)
            if split == spec.split:
                served = calibration.fit(raw[known], codes[known], taken(weights, known))
                if not by_time:
                    quantile = sets.fit(calibrated, codes, spec.coverage)
                classification = Classification(training.classes, positive, served, quantile)
        promised = ~np.isnan(quantiles)
        inside = sets.members(calibrated, quantiles)
        held[split] = Held(training.sample[list(spec.key_columns)][judged], fold, codes, calibrated, inside, promised)
        for name, in_slice in training.slices().items():
            rows = in_slice[judged]
            if not rows.any():
                continue
            measured = measures.of_classes(codes[rows], calibrated[rows], place, taken(weights, rows))
            if name == ALL:
                measured["sampled_from"] = float(training.heldout_rows(split))
            if (some := rows & promised).any():
                measured["coverage"] = float(np.mean(inside[some, codes[some]]))
                measured["mean_set_size"] = float(np.mean(inside[some].sum(axis=1)))
            metrics.append((candidate.name, split, name, measured))
        frequencies = _frequencies(training, split, fold)
        mean = measures.of_classes(codes, frequencies, place, weights)
        # no fold's frequencies rank rows: those of folds that hold out more of a class are less
        constant = measures.of_classes(codes, np.full_like(frequencies, 1 / len(training.classes)), place, weights)
        metrics.append((MEAN, split, ALL, mean | {name: constant[name] for name in OF_RANKS if name in constant}))
        if split == spec.split and exposure.metric not in mean:
            raise RowsError(
                f"{training.publication.publication_id}, read by exposure {exposure.name}: the rows that are held out "
                f"({split}) are of one class, of which there is no {exposure.metric} (meta.ml.metric): judge by "
                "log_loss, or split otherwise."
            )
    return ClassJudgement(candidate.name, judgement.table(metrics), training.classes, classification, held)


def _seen(training: TrainingSet, split: str) -> Mask:
    """Which sampled rows are of a class that their fold's fit has seen, shape (rows,)."""
    codes, fold = training.codes, training.fold(split)
    seen = np.zeros(len(codes), np.bool_)
    for number in training.folds(split):
        held = fold == number
        seen[held] = np.isin(codes[held], np.unique(codes[training.learned(split, number)]))
    return seen


def _frequencies(training: TrainingSet, split: str, fold: Integers) -> Matrix:
    """Of held-out rows, the share of each class among the rows that their fold's fit learns from, by weight."""
    found = np.empty((len(fold), len(training.classes)))
    weights = np.ones(len(training.codes)) if training.weights is None else training.weights
    for number in training.folds(split):
        learned = training.learned(split, number)
        counts = np.bincount(training.codes[learned], weights[learned], len(training.classes))
        found[fold == number] = counts / max(counts.sum(), np.finfo(np.float64).tiny)
    return found
