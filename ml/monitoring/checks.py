"""What must hold of an exposure after each consumption, read back from the lake."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import duckdb

from ml import lake
from ml.exposures import Exposure
from ml.lake import artifacts
from ml.metrics import loss, loss_name
from ml.records import champions, predictions, versions
from ml.spec import MEAN

Severity = Literal["error", "warn"]
Function = Callable[[duckdb.DuckDBPyConnection, Exposure], tuple[bool, str]]


@dataclass(frozen=True)
class Check:
    """A named check on one of the exposure's assets."""

    name: str
    asset: Literal["model", "predictions"]
    description: str
    function: Function
    severity: Severity = "error"


@dataclass(frozen=True)
class Result:
    """Whether a check passed, and what it found, in words."""

    check: Check
    passed: bool
    found: str


def better_than_mean(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The champion's held-out error is smaller than the mean predictor's."""
    champion = champions.champion(con, exposure.name)
    if champion is None:
        return False, "there is no champion: no version passed the gate yet"
    ours, mean = (
        versions.metric(con, exposure.name, champion, exposure.spec.split, exposure.metric, candidate)
        for candidate in (champion.candidate, MEAN)
    )
    if ours is None or mean is None:
        return False, f"champion {champion.version_id} was not judged by {exposure.spec.split} folds, as the spec asks"
    ours, mean = loss(exposure.metric, ours), loss(exposure.metric, mean)
    found = f"held-out {loss_name(exposure.metric)} of champion {champion.version_id} is {ours:,.6g}"
    return ours < mean, f"{found}, the mean's {mean:,.6g}"


def artifact_unchanged(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The champion's row is signed, and its file on S3 has the recorded sha256."""
    champion = champions.champion(con, exposure.name)
    if champion is None:
        return False, "there is no champion: no version passed the gate yet"
    try:
        artifacts.read(con, versions.vouched(con, exposure.name, champion).artifact)
    except artifacts.ArtifactError as error:
        return False, str(error)
    return True, f"{champion.artifact.uri} has the recorded sha256, and its row is signed"


def no_likely_leak(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """No feature of the champion alone nearly tells the target: such a one may be known only when the answer is."""
    champion = champions.champion(con, exposure.name)
    if champion is None:
        return True, "there is no champion: no version passed the gate yet"
    leaks = champion.parameters.get("likely_leaks", {})
    told = ", ".join(f"{name} alone tells {share:.1%} of {exposure.spec.target}" for name, share in leaks.items())
    return not leaks, told or f"no feature of champion {champion.version_id} alone nearly tells the target"


def every_row_predicted(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[bool, str]:
    """The newest consumed publication has one finite prediction by the champion for each of its rows."""
    counted = predictions.count_standing(con, exposure)
    if counted is None:
        return False, "no publication was consumed yet"
    publication_id, rows, keys, count = counted
    return rows == keys == count, f"{publication_id}: {rows:,} rows, {count:,} predictions of {keys:,} keys"


def _check(asset: Literal["model", "predictions"], function: Function, severity: Severity = "error") -> Check:
    return Check(function.__name__, asset, (function.__doc__ or "").strip(), function, severity)


CHECKS = (
    _check("model", better_than_mean),
    _check("model", artifact_unchanged),
    _check("model", no_likely_leak, "warn"),
    _check("predictions", every_row_predicted),
)


def run(exposure: Exposure) -> list[Result]:
    """Every check's result.

    Raises:
        LakeUnavailableError: The lake is not up.
    """
    with lake.connect() as con:
        return [Result(check, *check.function(con, exposure)) for check in CHECKS]
