"""Regressors that fail in every way, and one that behaves as CatBoost does."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression


class Unruly(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the mean, unless it fails.

    Args:
        how: `fit`, `memory`, `killed` fail in every fit; `one fold` in the fit that has not seen the smallest `a`;
            `everything` in a fit of so many rows; `predict`, `nan`, `huge`, `column` fail to predict.
        rows: Of `everything`.
    """

    def __init__(self, how: str = "", rows: int = 0) -> None:
        self.how, self.rows = how, rows

    def fit(self, X: Any, y: Any) -> "Unruly":
        if self.how == "fit" or (self.how == "one fold" and X["a"].min() > 0.05):
            raise KeyError("no such thing")
        if self.how == "everything" and len(X) == self.rows:
            raise ValueError("too many rows\nfor me")
        if self.how == "memory":
            raise MemoryError("Unable to allocate 4.5 GiB for an array")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X: Any) -> Any:
        if self.how == "predict":
            raise RuntimeError("nobody taught me")
        predicted = np.full(len(X), self.mean_)
        if self.how in ("nan", "huge"):
            predicted[0] = {"nan": np.nan, "huge": 1e200}[self.how]
        return predicted[:, None] if self.how == "column" else predicted


class Moody(LinearRegression):  # type: ignore[misc]
    """Linear, until it is asked for an `a` above 100."""

    def predict(self, X: Any) -> Any:
        return np.where(X["a"] > 100, np.nan, super().predict(X))


class LikeCatBoost(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Two names for a seed, of which it takes one; tells of no parameter that was not given; writes where it is."""

    def __init__(
        self,
        random_seed: int | None = None,
        thread_count: int | None = None,
        random_state: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        if random_seed is not None and random_state is not None:
            raise ValueError("only one of the parameters random_seed, random_state should be initialized.")
        given = {
            "random_seed": random_seed,
            "thread_count": thread_count,
            "random_state": random_state,
            "n_jobs": n_jobs,
        }
        self.given = {name: value for name, value in given.items() if value is not None}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return dict(self.given)

    def set_params(self, **given: Any) -> "LikeCatBoost":
        self.given |= given
        return self

    def fit(self, X: Any, y: Any) -> "LikeCatBoost":
        log = Path("catboost_info")
        log.mkdir(exist_ok=True)
        (log / f"{threading.get_ident()}.tsv").write_text(str(np.mean(y)))
        self.fitted_in_ = str(Path.cwd())
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)
