"""What must hold of an exposure after each consumption, read back from the lake."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import duckdb

from ml import lake
from ml.lake import artifacts
from ml.records import versions as registry
from ml.spec import MEAN, Exposure

Function = Callable[[duckdb.DuckDBPyConnection, Exposure], tuple[bool, str]]


@dataclass(frozen=True)
class Check:
    """A named check on one of the exposure's assets."""

    name: str
    asset: Literal["model", "predictions"]
    description: str
    function: Function


@dataclass(frozen=True)
class Result:
    """Whether a check passed, and what it found, in words."""

    check: Check
    passed: bool
    found: str


def better_than_mean(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The champion's held-out error is smaller than the mean predictor's."""
    champion = registry.champion(con, exposure.name)
    if champion is None:
        return False, "there is no champion: no version passed the gate yet"
    ours, mean = (
        registry.metric(con, exposure.name, champion, exposure.spec.split, "rmse", candidate)
        for candidate in (champion.candidate, MEAN)
    )
    if ours is None or mean is None:
        return False, f"champion {champion.version_id} was not judged by {exposure.spec.split} folds, as the spec asks"
    return ours < mean, f"held-out RMSE of champion {champion.version_id} is {ours:,.6g}, the mean's {mean:,.6g}"


def artifact_unchanged(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The champion's file on S3 has the recorded sha256."""
    champion = registry.champion(con, exposure.name)
    if champion is None:
        return False, "there is no champion: no version passed the gate yet"
    try:
        artifacts.read(con, champion.artifact)
    except artifacts.ArtifactError as error:
        return False, str(error)
    return True, f"{champion.artifact.uri} has the recorded sha256"


def every_row_predicted(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The newest consumed publication has one finite prediction by the champion for each of its rows."""
    row = con.execute(
        f"""
        with newest as (
            select
                max_by(consumptions.publication_id, publications.snapshot_id) as publication_id,
                max_by(
                    coalesce(consumptions.predicted_publication_id, consumptions.publication_id),
                    publications.snapshot_id
                ) as predicted_as,
                max_by(publications.row_count, publications.snapshot_id) as row_count
            from lake.ops.consumptions as consumptions
            join lake.ops.publications as publications using (publication_id)
            where consumptions.exposure = $exposure and consumptions.judged_as is not null
        )
        select
            newest.publication_id, newest.row_count,
            count(distinct predictions."{exposure.spec.key}") filter (where isfinite(predictions.prediction)),
            count(predictions.prediction)
        from newest
        left join lake.ml."{exposure.spec.predictions}" as predictions
            on predictions.publication_id = newest.predicted_as
            and predictions.exposure = $exposure
            and predictions.version_id = (
                select max_by(version_id, promotion) from lake.ml.promotions where exposure = $exposure
            )
        group by all
        """,
        {"exposure": exposure.name},
    ).fetchone()
    if row is None or row[0] is None:
        return False, "no publication was consumed yet"
    publication, rows, keys, predictions = row
    return rows == keys == predictions, f"{publication}: {rows:,} rows, {predictions:,} predictions of {keys:,} keys"


def _check(asset: Literal["model", "predictions"], function: Function) -> Check:
    return Check(function.__name__, asset, (function.__doc__ or "").strip(), function)


CHECKS = (
    _check("model", better_than_mean),
    _check("model", artifact_unchanged),
    _check("predictions", every_row_predicted),
)


def run(exposure: Exposure) -> list[Result]:
    """Every check's result.

    Raises:
        LakeUnavailableError: The lake is not up.
    """
    with lake.connect() as con:
        return [Result(check, *check.function(con, exposure)) for check in CHECKS]
