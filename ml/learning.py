"""From a published snapshot to a version that could serve: read, judge, fit, save. Nothing is committed here."""

from dataclasses import dataclass

import duckdb
import pandas as pd
from sklearn.pipeline import Pipeline

from ml import artifacts, fitting, judging, registry, snapshot
from ml.judging import Judgement
from ml.ledger import Publication
from ml.registry import Version
from ml.spec import Exposure
from ml.stopwatch import Stopwatch


@dataclass(frozen=True)
class Learned:
    """A version fitted and judged."""

    version: Version
    pipeline: Pipeline
    judgement: Judgement


def learn(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, judged_as: str, watch: Stopwatch
) -> Learned:
    """Judge every candidate on the same folds, fit the best one on all rows, and save it on S3.

    Raises:
        RowsError, FoldsError: The published rows cannot be learned from.
    """
    frame = snapshot.read(con, exposure, publication)
    watch.lap("read", f"read {len(frame):,} rows with {len(exposure.features)} features")
    split = exposure.spec.split
    judgements = [judging.judge(candidate, frame, exposure) for candidate in exposure.spec.candidates]
    best = min(judgements, key=lambda judgement: judgement.value(split, "rmse"))
    watch.lap("judge", f"judged {', '.join(exposure.spec.candidates)} on {exposure.spec.folds} {split} folds")
    fitted = fitting.fit(best.candidate, frame[list(exposure.features)], frame[exposure.spec.target])
    watch.lap("fit", f"fitted {best.candidate}: {fitted.parameters}")
    version = _saved(con, exposure, fitted, frame, best, judged_as)
    watch.lap("save", f"saved version {version.version_id}")
    return Learned(version, fitted.pipeline, best)


def _saved(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    fitted: fitting.Fitted,
    frame: pd.DataFrame,
    judgement: Judgement,
    judged_as: str,
) -> Version:
    features = list(exposure.features)
    scaler = fitting.scaler(frame[features])
    half_width = judging.half_width(judgement, exposure.spec.split, exposure.spec.level)
    return Version(
        version_id=registry.version_id(judged_as, judgement.candidate),
        candidate=judgement.candidate,
        features=exposure.features,
        parameters={**fitted.parameters, "half_width": half_width},
        artifact=artifacts.save(con, fitted.pipeline, "model"),
        scaler=artifacts.save(con, [dict(zip(features, scaler.mean_.tolist(), strict=True)), scaler], "scaler"),
    )
