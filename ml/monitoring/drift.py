"""How far the published rows have moved from those that the champion learned from, column by column."""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from ml import answers
from ml.arrays import Vector
from ml.columns import LEVELS, Kind, read_sql, value_sql
from ml.exposures import Exposure
from ml.lake.sql import listed
from ml.learning import encoding, fits, folds
from ml.learning.classification import Classification
from ml.learning.intervals import PREDICTION
from ml.records.publications import Publication
from ml.records.versions import Version

BINS = 10
# Levels of their own; each of more would move a little by chance.
MOST_LEVELS = 20
# What stands for NULL among numbers: it is beyond all of them.
NULL = np.inf
# A bin without rows counts as this share: the index would be infinite otherwise.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Drift:
    """Of one column between two samples.

    Attributes:
        psi: Population stability index over the deciles of the baseline, or over its levels, in nats; 0 where nothing
            moved.
        ks: Kolmogorov and Smirnov's distance of the two distributions, 0 to 1; of levels, which have no order, the
            most by which the share of one has changed.
    """

    psi: float
    ks: float


def population_stability_index(baseline: Vector, current: Vector) -> float:
    """The sum over the baseline's deciles of (p - q) ln(p / q), p and q being the shares of rows.

    Siddiqi, Credit Risk Scorecards, 2006, chapter 8: up to 0.1 is no change, above 0.25 a large one.

    Args:
        baseline, current: Shapes (n,) and (m,), finite but for `NULL`, which has a bin of its own.
    """
    present = baseline[baseline < NULL]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if len(present) else np.empty(0)
    if len(present) < len(baseline) or np.any(current == NULL):
        edges = np.append(edges, np.finfo(np.float64).max)
    p, q = (
        np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) / len(x)
        for x in (baseline, current)
    )
    return _index(p, q)


def _index(p: Vector, q: Vector) -> float:
    p, q = np.maximum(p, LEAST_SHARE), np.maximum(q, LEAST_SHARE)
    return float(np.sum((q - p) * np.log(q / p)))


def between(baseline: Vector, current: Vector) -> Drift:
    """The drift of a column from its values in the baseline, shape (n,), to those now, shape (m,)."""
    return Drift(population_stability_index(baseline, current), float(ks_2samp(baseline, current).statistic))


def between_levels(baseline: "pd.Series[Any]", current: "pd.Series[Any]") -> Drift:
    """The same of levels: the baseline's most frequent ones, NULL, and all others together."""
    shares = baseline.value_counts(normalize=True)
    known = sorted(shares.index, key=lambda level: (-shares[level], str(level)))[:MOST_LEVELS]
    p, q = (
        np.array([np.mean(column == level) for level in known] + [column.isna().mean()], np.float64)
        for column in (baseline, current)
    )
    p, q = (np.append(x, max(0.0, 1 - x.sum())) for x in (p, q))
    return Drift(_index(p, q), float(np.max(np.abs(q - p))))


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
        A row per column: version_id, baseline_publication_id, column_name, psi, ks, baseline_rows, current_rows,
        new_levels, new_level_rows; these two as `new_levels` gives them, of levels alone.

    Raises:
        EstimatorError: The champion does not predict a finite number, or probabilities, for each row.
    """
    then, now = (_sample(con, exposure, rows, champion) for rows in (baseline, publication))
    drifts = {
        name: between_levels(then[name], now[name])
        if kind in LEVELS
        else between(_numbers(then[name], kind), _numbers(now[name], kind))
        for name, kind in champion.kinds.items()
    }
    new = {
        name: new_levels(con, exposure, publication, baseline, name, kind)
        for name, kind in champion.kinds.items()
        if kind in LEVELS
    }
    drifts[PREDICTION] = _of_predictions(champion, estimator, then, now)
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
                "new_levels": new[name][0] if name in new else None,
                "new_level_rows": new[name][1] if name in new else None,
            }
            for name, drift in drifts.items()
        ]
    ).astype({"new_levels": "Int64", "new_level_rows": "Int64"})


def new_levels(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    baseline: Publication,
    name: str,
    kind: Kind,
) -> tuple[int, int]:
    """How many levels of a column no row had that the champion learned from, and how many rows have them now."""
    value, known = value_sql(name, kind), answers.known_sql(exposure.spec.target)
    found = con.execute(
        f"""
        with learned as (
            select distinct {value} as level from {baseline.table} where {known}
        ),
        published as (
            select {value} as level, count(*) as rows from {publication.table} where level is not null group by all
        )
        select count(*), cast(coalesce(sum(rows), 0) as bigint) from published anti join learned using (level)
        """
    ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def _of_predictions(champion: Version, estimator: Any, then: pd.DataFrame, now: pd.DataFrame) -> Drift:
    """Of numbers, of the probability of one of two classes, or of the predicted ones of several."""
    if not champion.classification:
        return between(fits.predictions(estimator, then), fits.predictions(estimator, now))
    made = Classification.from_json(champion.classification)
    before, after = (fits.probabilities(estimator, rows, made.classes) for rows in (then, now))
    if made.positive is not None:
        return between(made.probability(before), made.probability(after))
    return between_levels(*(pd.Series(values.argmax(axis=1)) for values in (before, after)))


def _numbers(column: "pd.Series[Any]", kind: Kind) -> Vector:
    """Numbers, or dates in days, `NULL` where there is none."""
    values = encoding.numbers(column, kind)
    return np.where(np.isnan(values), NULL, values)


def _sample(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, champion: Version
) -> pd.DataFrame:
    spec = exposure.spec
    sampled = folds.sampled_sql(spec.key_columns, publication.row_count, exposure.sample_rows, spec.seed)
    values, key = read_sql(champion.kinds), listed(spec.key_columns)
    return con.execute(f"select {values} from {publication.table} where {sampled} order by {key}").df()
