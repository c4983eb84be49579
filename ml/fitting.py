"""From rows to a fitted scikit-learn pipeline, one recipe a candidate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

ALPHAS = np.logspace(-3, 1, 30)


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline and what fitting chose, by name."""

    pipeline: Pipeline
    parameters: dict[str, Any]


def ridge(features: pd.DataFrame, target: pd.Series) -> Fitted:
    """Ridge on standardized columns; the penalty is `RidgeCV`'s choice by leave-one-out error."""
    pipeline = Pipeline([("scale", StandardScaler()), ("ridge", RidgeCV(alphas=ALPHAS))])
    pipeline.fit(features, target)
    return Fitted(pipeline, {"alpha": float(pipeline["ridge"].alpha_)})


RECIPES: dict[str, Callable[[pd.DataFrame, "pd.Series[float]"], Fitted]] = {"ridge": ridge}


def fit(candidate: str, features: pd.DataFrame, target: "pd.Series[float]") -> Fitted:
    """Fit a candidate's recipe on a frame of shape (rows, features) and a target of shape (rows,)."""
    return RECIPES[candidate](features, target)


def scaler(features: pd.DataFrame) -> StandardScaler:
    """scikit-learn's scaler of a frame of shape (rows, features), for readers that want the scaling alone."""
    return StandardScaler().fit(features)
