"""A learned-from table whose rows have a time, and whose spec judges what is to come."""

from typing import Any

import numpy as np
import pandas as pd

from ml.exposures import Exposure
from ml.spec import BacktestSpec, FeaturesSpec, Spec


def exposure(kind: str = "TIMESTAMP", /, backtest: dict[str, Any] | None = None, **settings: Any) -> Exposure:
    """An exposure on `features.sales`; settings as the spec has them."""
    said: dict[str, Any] = {"key": "id", "target": "y", "time": "at", "split": "time", "candidates": ("ridge",)}
    if backtest:
        said["backtest"] = BacktestSpec.model_validate(backtest)
    return Exposure(
        name="sales",
        owner="Someone",
        owner_email=None,
        description="",
        unique_id="model.tract.sales",
        relation="features.sales",
        columns={"id": "VARCHAR", "at": kind, "shop": "VARCHAR", "a": "DOUBLE", "b": "DOUBLE", "y": "DOUBLE"},
        spec=Spec(**{**said, "features": FeaturesSpec(exclude=("shop",)), **settings}),
    )


def frame(rows: int = 600, seed: int = 0, days: int = 200, noise: float = 1.0) -> pd.DataFrame:
    """Rows in no order, several a day; `y` is 3 a - 2 b and noise."""
    random = np.random.default_rng(seed)
    a, b = random.uniform(0, 10, rows), random.uniform(0, 5, rows)
    since = random.permutation(np.arange(rows) * days // rows)
    return pd.DataFrame(
        {
            "id": [f"k{i:05d}" for i in range(rows)],
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(since, unit="D"),
            "shop": [f"s{i % 7}" for i in range(rows)],
            "a": a,
            "b": b,
            "y": 100 + 3 * a - 2 * b + noise * random.normal(size=rows),
        }
    )
