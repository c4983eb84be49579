"""Versions and champions: ml.model_versions, ml.promotions, ml.model_metrics and the held-out predictions."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from ml.code import code_version
from ml.lake import artifacts
from ml.lake.artifacts import Artifact
from ml.publishing import git_commit
from ml.records.publications import Publication
from ml.spec import MEAN, CandidateSpec, Exposure

if TYPE_CHECKING:  # 4 s of imports that those who only ask who the champion is do not wait for
    import pandas as pd

    from ml.learning.judging import Judgement
    from ml.monitoring.live_error import LiveError


@dataclass(frozen=True)
class Version:
    """One row of ml.model_versions, as far as it is needed to serve.

    Attributes:
        features: Columns of the pipeline's input, in order.
        parameters: What fitting chose, `spread`, which makes the intervals, and `recipe`, the candidate as asked for.
    """

    version_id: str
    candidate: str
    features: tuple[str, ...]
    parameters: dict[str, Any]
    artifact: Artifact
    scaler: Artifact


@dataclass(frozen=True)
class Champion:
    """What a challenger has to beat.

    Attributes:
        recipe: As it was asked for when the version was trained.
        rmse: Held-out, by the spec's split, when it was trained.
    """

    recipe: CandidateSpec
    rmse: float


def version_id(judged_as: str, candidate: str) -> str:
    """The name of what the same rows, spec, code and candidate give, always the same; 12 hexadecimal digits."""
    return hashlib.sha256(f"{judged_as} {candidate}".encode()).hexdigest()[:12]


def champion(con: duckdb.DuckDBPyConnection, exposure_name: str, before: datetime | None = None) -> Version | None:
    """The exposure's serving version, now or just before some moment; None before its first promotion.

    Also None in a lake in which nothing was built yet.
    """
    try:
        row = con.execute(
            """
            select max_by(version_id, promotion)
            from lake.ml.promotions
            where exposure = $exposure and ($before is null or promoted_at < $before)
            """,
            {"exposure": exposure_name, "before": before},
        ).fetchone()
    except duckdb.CatalogException as error:
        if "promotions" not in str(error):
            raise
        return None
    return version(con, exposure_name, row[0]) if row and row[0] else None


def version(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> Version | None:
    """A registered version, or None."""
    row = con.execute(
        """
        select version_id, candidate, features, parameters, artifact_uri, artifact_sha256, scaler_uri, scaler_sha256
        from lake.ml.model_versions
        where exposure = ? and version_id = ?
        """,
        [exposure_name, version_id],
    ).fetchone()
    if row is None:
        return None
    return Version(
        row[0], row[1], tuple(row[2]), json.loads(row[3]), Artifact(row[4], row[5]), Artifact(row[6], row[7])
    )


def defending(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version | None, publication: Publication
) -> Champion | None:
    """The champion as the gate sees it; None before there is one, and where it was made for another question."""
    if version is None or outdated(con, exposure, version, publication):
        return None
    rmse = metric(con, exposure.name, version, exposure.spec.split, "rmse")
    if rmse is None:  # the spec's split is another one, by which it was not judged
        return None
    return Champion(recipe(version.candidate, version.parameters), rmse)


def recipe(candidate: str, parameters: Mapping[str, Any]) -> CandidateSpec:
    """The candidate as it was asked for, from a version's name of it and its parameters."""
    return CandidateSpec.model_validate(parameters.get("recipe", candidate))


def outdated(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, publication: Publication
) -> str | None:
    """Why a version cannot predict what the spec asks for of these rows, to follow its name; None where it can."""
    made_for = con.execute(
        """
        select json_extract_string(spec, '$.key'), json_extract_string(spec, '$.target')
        from lake.ml.model_versions
        where exposure = ? and version_id = ?
        """,
        [exposure.name, version.version_id],
    ).fetchall()[0]
    for field, then, now in zip(("key", "target"), made_for, (exposure.spec.key, exposure.spec.target), strict=True):
        if then != now:
            return f"was made for the {field} {then}, and the spec asks for {now}"
    columns = {row[0] for row in con.execute(f"describe from {publication.table}").fetchall()}
    if gone := [name for name in version.features if name not in columns]:
        return f"learned from {', '.join(gone)}, which {publication.publication_id} has no more"
    return None


def origin(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> tuple[str, datetime]:
    """The publication that a version learned from, and when it was committed."""
    row = con.execute(
        "select publication_id, trained_at from lake.ml.model_versions where exposure = ? and version_id = ?",
        [exposure_name, version_id],
    ).fetchone()
    assert row is not None, f"no version {version_id} of {exposure_name}"
    return row[0], row[1]


def load(con: duckdb.DuckDBPyConnection, version: Version) -> Any:
    """The version's fitted estimator, its sha256 checked first.

    Raises:
        ArtifactError: The file is missing or was changed.
    """
    return artifacts.load(con, version.artifact)


def metric(
    con: duckdb.DuckDBPyConnection,
    exposure_name: str,
    version: Version,
    split: str,
    name: str,
    candidate: str | None = None,
) -> float | None:
    """A recorded held-out metric over all rows; of the version itself, or of another candidate judged beside it.

    None where it was not judged by the split.
    """
    row = con.execute(
        """
        select value from lake.ml.model_metrics
        where exposure = ? and version_id = ? and candidate = ? and split = ? and slice = 'all' and metric = ?
        """,
        [exposure_name, version.version_id, candidate or version.candidate, split, name],
    ).fetchone()
    return float(row[0]) if row else None


def record(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    judgements: Mapping[str, "Judgement"],
) -> None:
    """Write a version, the metrics of all that competed, its held-out predictions; in the caller's transaction."""
    con.execute(
        "insert into lake.ml.model_versions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now())",
        [
            exposure.name,
            version.version_id,
            version.candidate,
            publication.publication_id,
            publication.relation,
            publication.snapshot_id,
            publication.fingerprint,
            publication.row_count,
            publication.invocation_id,
            exposure.spec.model_dump_json(),
            code_version(),
            git_commit(),
            list(version.features),
            json.dumps(version.parameters),
            version.artifact.uri,
            version.artifact.sha256,
            version.scaler.uri,
            version.scaler.sha256,
        ],
    )
    first, *others = [judgement.metrics for judgement in judgements.values()]
    _append(con, exposure, version, "model_metrics", first)
    for other in others:  # the mean predictor's are the same beside each
        _append(con, exposure, version, "model_metrics", other[other["candidate"] != MEAN])
    _append(con, exposure, version, exposure.heldout, judgements[version.candidate].heldout)


def record_drift(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, moved: "pd.DataFrame"
) -> None:
    """Write what `drift.measure` found of a publication, inside the caller's transaction."""
    con.register("moved", moved)
    con.execute(
        "insert into lake.ml.drift by name select ? as exposure, ? as publication_id, moved.*, now() as measured_at "
        "from moved",
        [exposure.name, publication.publication_id],
    )
    con.unregister("moved")


def record_live_errors(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, errors: Sequence["LiveError"]
) -> None:
    """Write what `live_error.measure` found of a publication, inside the caller's transaction."""
    for found in errors:
        con.execute(
            "insert into lake.ml.live_errors values (?, ?, ?, ?, ?, ?, ?, ?, now())",
            [
                exposure.name,
                publication.publication_id,
                found.version_id,
                found.predicted_publication_id,
                found.row_count,
                found.rmse,
                found.mae,
                found.coverage,
            ],
        )


def _append(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, table: str, rows: "pd.DataFrame"
) -> None:
    con.register("appended", rows)
    con.execute(
        f'insert into lake.ml."{table}" by name select ? as exposure, ? as version_id, appended.* from appended',
        [exposure.name, version.version_id],
    )
    con.unregister("appended")


def promote(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, promoted_by: str, reason: str
) -> None:
    """Make a version the champion, inside the caller's transaction and under the exposure's lock."""
    con.execute(
        """
        insert into lake.ml.promotions
        select $exposure, coalesce(max(promotion), 0) + 1, $version, $promoted_by, $reason, now()
        from lake.ml.promotions where exposure = $exposure
        """,
        {
            "exposure": exposure.name,
            "version": version.version_id,
            "promoted_by": promoted_by,
            "reason": reason,
        },
    )
