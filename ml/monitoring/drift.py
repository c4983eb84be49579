"""How far the published rows have moved from those that the champion learned from, column by column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from ml.arrays import Vector
from ml.exposures import Exposure
from ml.lake.sql import doubles, quoted
from ml.learning import candidates, folds
from ml.learning.intervals import PREDICTION
from ml.records.publications import Publication
from ml.records.versions import Version

BINS = 10
# A bin without rows counts as this share: the index would be infinite otherwise.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Drift:
    """Of one column between two samples.

    Attributes:
        psi: Population stability index over the deciles of the baseline, in nats; 0 where nothing moved.
        ks: Kolmogorov and Smirnov's distance of the two distributions, 0 to 1.
    """

    psi: float
    ks: float


def population_stability_index(baseline: Vector, current: Vector) -> float:
    """The sum over the baseline's deciles of (p - q) ln(p / q), p and q being the shares of rows.

    Siddiqi, Credit Risk Scorecards, 2006, chapter 8: up to 0.1 is no change, above 0.25 a large one.

    Args:
        baseline, current: Shapes (n,) and (m,), finite.
    """
    edges = np.unique(np.quantile(baseline, np.linspace(0, 1, BINS + 1)[1:-1]))
    p, q = (
        np.maximum(np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) / len(x), LEAST_SHARE)
        for x in (baseline, current)
    )
    return float(np.sum((q - p) * np.log(q / p)))


def between(baseline: Vector, current: Vector) -> Drift:
    """The drift of a column from its values in the baseline, shape (n,), to those now, shape (m,)."""
    return Drift(population_stability_index(baseline, current), float(ks_2samp(baseline, current).statistic))


def measure(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    baseline: Publication,
    champion: Version,
    estimator: Any,
) -> pd.DataFrame:
    """The drift of each feature, and of the champion's predictions, on about `max_rows` rows of each side.

    Returns:
        A row per column: version_id, baseline_publication_id, column_name, psi, ks, baseline_rows, current_rows.

    Raises:
        EstimatorError: The champion does not predict a finite number for each row.
    """
    then, now = (_sample(con, exposure, rows, champion) for rows in (baseline, publication))
    both: Mapping[str, tuple[Vector, Vector]] = {
        **{name: (then[name].to_numpy(np.float64), now[name].to_numpy(np.float64)) for name in champion.features},
        PREDICTION: (candidates.predictions(estimator, then), candidates.predictions(estimator, now)),
    }
    drifts = {name: between(before, after) for name, (before, after) in both.items()}
    return pd.DataFrame(
        [
            {
                "version_id": champion.version_id,
                "baseline_publication_id": baseline.publication_id,
                "column_name": name,
                "psi": drift.psi,
                "ks": drift.ks,
                "baseline_rows": len(then),
                "current_rows": len(now),
            }
            for name, drift in drifts.items()
        ]
    )


def _sample(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, champion: Version
) -> pd.DataFrame:
    spec = exposure.spec
    sampled = folds.sampled_sql(spec.key, publication.row_count, spec.max_rows, spec.seed)
    return con.execute(
        f"select {doubles(champion.features)} from {publication.table} where {sampled} order by {quoted(spec.key)}"
    ).df()
