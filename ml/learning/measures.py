"""Metrics of predictions: of numbers, and of classes, over all rows, by row, and by rank."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.metrics import LEAST

# Bins of equal numbers of rows, by the probability of the predicted class.
BINS = 15


def of_numbers(actual: Vector, predicted: Vector, weights: Vector | None = None) -> dict[str, float]:
    """The metrics of predictions of shape (rows,), and how many rows; errors in the target's unit.

    Args:
        weights: What each row counts, shape (rows,); None where each counts once.
    """
    error = np.abs(actual - predicted)
    # of weights, numpy knows no method that lies between two rows
    p90 = (
        np.quantile(error, 0.9) if weights is None else np.quantile(error, 0.9, weights=weights, method="inverted_cdf")
    )
    return {
        "rows": float(len(actual)),
        "rmse": float(root_mean_squared_error(actual, predicted, sample_weight=weights)),
        "mae": float(mean_absolute_error(actual, predicted, sample_weight=weights)),
        # of one row there is none
        **({"r2": float(r2_score(actual, predicted, sample_weight=weights))} if len(actual) > 1 else {}),
        "median_absolute_error": float(median_absolute_error(actual, predicted, sample_weight=weights)),
        "p90_absolute_error": float(p90),
    }


def of_classes(
    codes: Integers, probabilities: Matrix, positive: int | None, weights: Vector | None = None
) -> dict[str, float]:
    """The metrics of probabilities of shape (rows, classes), and how many rows.

    What compares classes is left out where the rows are of one.

    Args:
        codes: The places of the true classes, shape (rows,).
        positive: Of two classes, the place of the one that is ranked; of more, each is, against all others, and the
            mean is taken.
        weights: What each row counts, shape (rows,); None where each counts once.
    """
    by_row = {
        metric: float(np.average(of_rows(metric, codes, probabilities), weights=weights))
        for metric in ("log_loss", "brier_score")
    }
    ranks = rankings(codes, probabilities, positive)
    return {
        "rows": float(len(codes)),
        **by_row,
        **({metric: mean_rank(metric, ranks, weights) for metric in ("roc_auc", "average_precision")} if ranks else {}),
        "accuracy": float(np.average(probabilities.argmax(axis=1) == codes, weights=weights)),
        "ece": expected_calibration_error(codes, probabilities, weights),
    }


def of_rows(metric: str, codes: Integers, probabilities: Matrix) -> Vector:
    """What is lost by each row, shape (rows,): log loss, Brier score, or 1 where the predicted class is wrong.

    The Brier score is the squared error of the probability of one of two classes; of several, the sum of all squared
    errors (Brier, Verification of forecasts expressed in terms of probability, 1950).
    """
    true = probabilities[np.arange(len(codes)), codes]
    if metric == "log_loss":
        return -np.log(np.clip(true, LEAST, 1.0))
    if metric == "brier_score":
        squares: Vector = np.sum(probabilities**2, axis=1) - 2 * true + 1
        return squares / 2 if probabilities.shape[1] == 2 else squares
    wrong: Vector = (probabilities.argmax(axis=1) != codes).astype(np.float64)
    return wrong


def expected_calibration_error(codes: Integers, probabilities: Matrix, weights: Vector | None = None) -> float:
    """The mean gap between the probability of the predicted class and how often it is right, over bins of rows.

    Naeini, Cooper, Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, 2015; with bins of equal
    numbers of rows, as Nixon, Dusenberry, Zhang, Jerfel, Tran, Measuring calibration in deep learning, 2019.
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == codes
    weight = np.ones(len(codes)) if weights is None else weights
    gap = weight * (sure - right)
    return float(sum(abs(np.sum(gap[rows])) for rows in bins(sure)) / weight.sum())


def bins(said: Vector) -> list[Integers]:
    """The rows of each of `BINS` bins of equal numbers of rows, by probabilities of shape (rows,), the least first."""
    return [rows for rows in np.array_split(np.argsort(said, kind="stable"), BINS) if len(rows)]


class Ranking:
    """Rows of one class among others, by a score: sorted once, and measured under any weights."""

    def __init__(self, inside: Mask, score: Vector) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.inside = inside[self.order].astype(np.float64)
        ordered = score[self.order]
        # the first row of each score: equal ones are not told apart
        self.starts = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1])

    def value(self, metric: str, weights: Vector | None = None) -> float:
        """The area under the ROC curve, or the average precision; NaN where the weights leave one side empty."""
        weight = np.ones(len(self.inside)) if weights is None else weights[self.order]
        positives = np.add.reduceat(weight * self.inside, self.starts)
        others = np.add.reduceat(weight * (1 - self.inside), self.starts)
        found, passed = positives.sum(), others.sum()
        if not found or (metric == "roc_auc" and not passed):
            return float("nan")
        if metric == "roc_auc":
            below = passed - np.cumsum(others)
            return float(np.sum(positives * (below + others / 2)) / (found * passed))
        taken = np.cumsum(positives + others)
        precision = np.divide(np.cumsum(positives), taken, out=np.zeros_like(taken), where=taken > 0)
        return float(np.sum(positives * precision) / found)


def rankings(codes: Integers, probabilities: Matrix, positive: int | None) -> list[Ranking]:
    """Of the positive class, or of each; of those alone that some rows are of, and some are not."""
    places = range(probabilities.shape[1]) if positive is None else [positive]
    there = [(place, codes == place) for place in places]
    return [Ranking(inside, probabilities[:, place]) for place, inside in there if 0 < inside.sum() < len(codes)]


def mean_rank(metric: str, ranks: Sequence[Ranking], weights: Vector | None = None) -> float:
    """The mean over rankings; NaN where the weights leave none that has two sides."""
    values = [value for ranking in ranks if not np.isnan(value := ranking.value(metric, weights))]
    return float(np.mean(values)) if values else float("nan")
