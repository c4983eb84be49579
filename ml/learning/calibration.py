"""Probabilities that come true as often as they say, learned from held-out ones.

Of two classes, the log odds are shifted and stretched (Platt, Probabilistic outputs for support vector machines, 1999);
of more, the logs of all probabilities are stretched alike (temperature scaling: Guo, Pleiss, Sun, Weinberger, On
calibration of modern neural networks, 2017). Few rows say little: a normal prior holds shift and log of the stretch,
and nothing is changed where the likelihood-ratio test finds nothing wrong (Cox, Two further applications of a model for
binary regression, 1958). A stretch is above zero, so that no order is turned around.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, log_softmax, logit
from scipy.stats import chi2
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.weights import taken

# No log is taken of less.
LEAST = 1e-12
# The prior's standard deviations: of the shift, in log odds, which is large where classes were weighted alike, and of
# the log of the stretch.
SHIFT, STRETCH = 2.0, 0.5
# The chance at which probabilities that are right are changed all the same.
SIGNIFICANCE = 0.05
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """What changes raw probabilities; as it stands here, nothing.

    Attributes:
        shift: Of the log odds of the second of two classes.
        stretch: Of the log odds, or of the logs of the probabilities of several classes.
    """

    shift: float = 0.0
    stretch: float = 1.0

    def of(self, raw: Matrix) -> Matrix:
        """Calibrated probabilities of raw ones, shape (rows, classes) each."""
        if self == Calibration():
            return raw
        clipped = np.clip(raw, LEAST, 1 - LEAST)
        if raw.shape[1] == 2:
            second = expit(self.shift + self.stretch * logit(clipped[:, 1]))
            return np.column_stack([1 - second, second])
        calibrated: Matrix = np.exp(log_softmax(self.stretch * np.log(clipped), axis=1))
        return calibrated

    def around(self, fitted: Any, rows: pd.DataFrame) -> Any:
        """A fitted classifier whose `predict_proba` is calibrated, all of scikit-learn's; itself if nothing changes.

        Args:
            rows: At least one, with the features: by them, scikit-learn sets what is not learned here.
        """
        classes = fitted.classes_
        if len(classes) < 2 or self == Calibration():
            return fitted
        last = LogisticRegression(max_iter=1)
        odds = FunctionTransformer(logit) if len(classes) == 2 else FunctionTransformer(np.log)
        clip = FunctionTransformer(np.clip, kw_args={"a_min": LEAST, "a_max": 1 - LEAST})
        stack = StackingClassifier(
            [("model", fitted)], make_pipeline(clip, odds, last), cv="prefit", stack_method="predict_proba"
        )
        some = rows.iloc[np.arange(len(classes)) % len(rows)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what it finds is replaced
            stack.fit(some, classes)
        last = stack.final_estimator_[-1]
        if len(classes) == 2:
            last.coef_, last.intercept_ = np.array([[self.stretch]]), np.array([self.shift])
        else:
            last.coef_, last.intercept_ = self.stretch * np.eye(len(classes)), np.zeros(len(classes))
        return stack


def inside(fitted: Any) -> Any:
    """The classifier that `Calibration.around` made a calibrated one of; any other estimator itself."""
    calibrated = isinstance(fitted, StackingClassifier) and fitted.cv == "prefit"
    return fitted.estimators_[0] if calibrated else fitted


def fit(raw: Matrix, codes: Integers, weights: Vector | None = None) -> Calibration:
    """Learn from held-out probabilities of shape (rows, classes), and the places of the true classes and perhaps
    weights, shape (rows,).

    Nothing is changed where the rows are not of two classes at least.
    """
    if len(np.unique(codes)) < 2:
        return Calibration()
    logs = np.log(np.clip(raw, LEAST, 1 - LEAST))
    two, counts = raw.shape[1] == 2, np.ones(len(codes)) if weights is None else weights
    objective = _of_two(logit(np.exp(logs[:, 1])), codes, counts) if two else _of_more(logs, codes, counts)
    start = np.zeros(2 if two else 1)
    found = _least(objective, start)
    gain = objective(start)[0] - objective(found)[0]
    if 2 * gain <= chi2.ppf(1 - SIGNIFICANCE, len(start)):
        return Calibration()
    return Calibration(float(found[0]) if two else 0.0, float(np.exp(found[-1])))


def held_out(raw: Matrix, codes: Integers, fold: Integers, known: Mask, weights: Vector | None = None) -> Matrix:
    """Calibrated probabilities of held-out rows, shape (rows, classes), each learned without the row's fold.

    The fits of the other folds have seen the row, as they have for intervals: two numbers learned of them all tell
    nothing of it.

    Args:
        raw: Shape (rows, classes).
        codes: The places of the true classes, shape (rows,).
        fold: In which each row was held out, shape (rows,).
        known: Rows whose class its fit had seen, shape (rows,): of others nothing is learned.
        weights: What each row counts, shape (rows,); None where each counts once.
    """
    return _by_others(raw, codes, fold, known, weights, np.not_equal)


def over_time(raw: Matrix, codes: Integers, fold: Integers, known: Mask, weights: Vector | None = None) -> Matrix:
    """The same of periods, numbered as time goes: each is learned from those before it, the first is left as it is."""
    return _by_others(raw, codes, fold, known, weights, np.less)


def _by_others(
    raw: Matrix,
    codes: Integers,
    fold: Integers,
    known: Mask,
    weights: Vector | None,
    learns: Callable[[Integers, int], Mask],
) -> Matrix:
    """Each fold's rows, calibrated by the known rows of the folds that it learns from."""
    calibrated = np.empty_like(raw)
    for number in np.unique(fold):
        held, others = fold == number, known & learns(fold, number)
        counts = taken(weights, others)
        calibrated[held] = fit(raw[others], codes[others], counts).of(raw[held])
    return calibrated


# Of parameters: what is to be least, its gradient, and a matrix that is positive definite and near its Hessian.
_Objective = Callable[[Vector], tuple[float, Vector, Matrix]]


def _of_two(odds: Vector, codes: Integers, weights: Vector) -> _Objective:
    """The log loss of log odds that are shifted and stretched by the exponential, and the prior."""
    wanted = codes.astype(np.float64)

    def at(parameters: Vector) -> tuple[float, Vector, Matrix]:
        stretched = np.exp(parameters[1]) * odds
        z = parameters[0] + stretched
        p = expit(z)
        value = float(np.sum(weights * (np.logaddexp(0, z) - wanted * z)))
        off = weights * (p - wanted)
        gradient = np.array([np.sum(off), np.sum(off * stretched)])
        w = weights * p * (1 - p)
        cross = np.sum(w * stretched)
        hessian = np.array([[np.sum(w), cross], [cross, np.sum(w * stretched**2)]])
        return _with_prior(parameters, value, gradient, hessian)

    return at


def _of_more(logs: Matrix, codes: Integers, weights: Vector) -> _Objective:
    """The log loss of logs that are stretched by the exponential, and the prior."""
    true = logs[np.arange(len(codes)), codes]

    def at(parameters: Vector) -> tuple[float, Vector, Matrix]:
        stretch = np.exp(parameters[0])
        log_p = log_softmax(stretch * logs, axis=1)
        p = np.exp(log_p)
        mean = np.sum(p * logs, axis=1)
        value = float(-np.sum(weights * log_p[np.arange(len(codes)), codes]))
        gradient = np.array([stretch * np.sum(weights * (mean - true))])
        hessian = np.array([[stretch**2 * np.sum(weights[:, None] * p * (logs - mean[:, None]) ** 2)]])
        return _with_prior(parameters, value, gradient, hessian)

    return at


def _with_prior(parameters: Vector, value: float, gradient: Vector, hessian: Matrix) -> tuple[float, Vector, Matrix]:
    precision = np.array([SHIFT, STRETCH])[-len(parameters) :] ** -2.0
    return (
        value + float(np.sum(precision * parameters**2)) / 2,
        gradient + precision * parameters,
        hessian + np.diag(precision),
    )


def _least(objective: _Objective, at: Vector) -> Vector:
    """Newton's steps, each halved until the value falls."""
    value, gradient, hessian = objective(at)
    for _ in range(_STEPS):
        step = np.linalg.solve(hessian, gradient)
        while True:
            there = objective(at - step)
            if there[0] <= value or np.max(np.abs(step)) < 1e-12:
                break
            step = step / 2
        at, (value, gradient, hessian) = at - step, there
        if np.max(np.abs(step)) < 1e-10:
            break
    return at
