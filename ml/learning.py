"""From a published snapshot to a version that could serve: read, judge, fit, save. Nothing is committed here."""

from dataclasses import dataclass
from typing import Any

import duckdb

from ml import artifacts, candidates, judging, linear_sql, registry, ridge, training_set
from ml.candidates import Fitted
from ml.judging import Judgement
from ml.ledger import Publication
from ml.registry import Version
from ml.spec import Exposure
from ml.stopwatch import Stopwatch
from ml.training_set import TrainingSet


@dataclass(frozen=True)
class Learned:
    """A version fitted and judged."""

    version: Version
    estimator: Any
    judgement: Judgement


def learn(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, judged_as: str, watch: Stopwatch
) -> Learned:
    """Judge every candidate on the same folds, fit the best one on everything, and save it on S3.

    Raises:
        RowsError: The published rows cannot be learned from.
        EstimatorError: A candidate cannot be built.
        ParityError: The predictions as SQL are not those of the estimator.
    """
    spec = exposure.spec
    training = training_set.read(con, exposure, publication, watch.say)
    rows, sampled = training.whole.n, len(training.sample)
    part = "" if sampled == rows else f", and a sample of {sampled:,} to judge by"
    watch.lap("read", f"read {rows:,} rows with {len(exposure.features)} features{part}")
    competing = [candidates.build(candidate, con, training, watch.say) for candidate in spec.candidates]
    judgements = {candidate.name: judging.judge(candidate, training) for candidate in competing}
    best = min(competing, key=lambda candidate: judgements[candidate.name].value(spec.split, "rmse"))
    watch.lap("judge", f"judged {', '.join(judgements)} on {spec.folds} {spec.split} folds")
    fitted = best.fit()
    linear_sql.check_parity(con, training.sample, fitted.estimator, exposure.features)
    watch.lap("fit", f"fitted {best.name}: {fitted.parameters}")
    for note in fitted.notes:
        watch.say(note)
    version = _saved(con, training, fitted, judgements[best.name], judged_as)
    watch.lap("save", f"saved version {version.version_id}")
    return Learned(version, fitted.estimator, judgements[best.name])


def _saved(
    con: duckdb.DuckDBPyConnection, training: TrainingSet, fitted: Fitted, judgement: Judgement, judged_as: str
) -> Version:
    spec, features = training.exposure.spec, training.exposure.features
    scaler = ridge.fit_moments(training.whole, 1.0, features)[0]
    half_width = judging.half_width(judgement, spec.split, spec.level)
    return Version(
        version_id=registry.version_id(judged_as, judgement.candidate),
        candidate=judgement.candidate,
        features=features,
        parameters={**fitted.parameters, "half_width": half_width},
        artifact=artifacts.save(con, fitted.estimator, "model"),
        scaler=artifacts.save(con, [dict(zip(features, scaler.mean_.tolist(), strict=True)), scaler], "scaler"),
    )
