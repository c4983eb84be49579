"""Frames whose target is a class, as exposures learn from them, without a lake."""

from typing import Any

import numpy as np
import pandas as pd

from ml.exposures import Exposure
from ml.spec import CandidateSpec, Spec

TYPES = {"b": "BOOLEAN", "O": "VARCHAR", "i": "BIGINT", "f": "DOUBLE"}
LINE = CandidateSpec(name="line", estimator="sklearn.linear_model.LogisticRegression")


def exposure(rows: pd.DataFrame, **spec: Any) -> Exposure:
    """An exposure on a frame whose key is `id` and whose target is `y`; integers are classes."""
    columns = {
        str(name): TYPES[np.asarray(rows[name], object if rows[name].dtype.kind not in "bif" else None).dtype.kind]
        for name in rows
    }
    asked = {"candidates": ("logistic",), "task": "classification"} | spec
    return Exposure(
        "classes",
        "Someone",
        None,
        "",
        "model.tract.classes",
        "features.classes",
        columns,
        Spec(key="id", target="y", **asked),
    )


def noisy(rows: int = 400, seed: int = 0, classes: tuple[Any, ...] = (False, True), noise: float = 1.0) -> pd.DataFrame:
    """Rows whose class depends on `a`, less than on chance; in twelve cells."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=rows), random.normal(size=rows)
    place = np.digitize(a + noise * random.logistic(size=rows), np.linspace(-0.7, 0.7, len(classes) - 1))
    values = [classes[i] for i in place]
    return pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(rows)],
            "cell": [f"c{i % 12}" for i in range(rows)],
            "a": a,
            "b": b,
            "y": pd.Series(values, dtype=object if isinstance(classes[0], str) else None),
        }
    )
