"""Versions: ml.model_versions, with the metrics and held-out predictions by which each was judged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from ml.code import git_commit
from ml.columns import Kind
from ml.exposures import Exposure
from ml.identity import code_version
from ml.lake import artifacts, signing
from ml.lake.artifacts import Artifact, ArtifactError
from ml.lake.sql import listed, quoted
from ml.records import tables
from ml.records.publications import Publication, publication, table_at
from ml.spec import CandidateSpec, key_columns, predictions_table

if TYPE_CHECKING:  # 4 s of imports that those who only ask who the champion is do not wait for
    import pandas as pd
    import pyarrow as pa

# What a version's signature is of: its row, but for when it was trained, which the lake's clock says. A migration that
# changes one of these in rows that are there makes their signatures void, until somebody signs them anew.
SIGNED = (
    *("exposure", "version_id", "candidate", "publication_id", "relation", "snapshot_id", "fingerprint", "row_count"),
    *("invocation_id", "spec", "code", "git_commit", "features", "parameters"),
    *("artifact_uri", "artifact_sha256", "scaler_uri", "scaler_sha256"),
)


@dataclass(frozen=True)
class Version:
    """One row of ml.model_versions, as far as it is needed to serve.

    Attributes:
        features: Columns of the pipeline's input, in order.
        parameters: What fitting chose; `spread`, which makes the intervals, or
            `classification`, which makes what is served of classes; `recipe`, the candidate as asked for;
            `notes`, what a person should know of it; `failed`, why candidates beside it are out, by name; `columns`,
            what each feature is, where not all are numbers without NULL; `likely_leaks`, features that alone nearly
            tell the target, with the share that each tells, where there are any.
    """

    version_id: str
    candidate: str
    features: tuple[str, ...]
    parameters: dict[str, Any]
    artifact: Artifact
    scaler: Artifact

    @property
    def recipe(self) -> CandidateSpec:
        """The candidate as it was asked for."""
        return CandidateSpec.model_validate(self.parameters.get("recipe", self.candidate))

    @property
    def plain(self) -> bool:
        """Whether all features must be numbers without NULL."""
        return "columns" not in self.parameters

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each feature is."""
        kinds: Mapping[str, Kind] = self.parameters.get("columns", {})
        return {name: kinds.get(name, "number") for name in self.features}

    @property
    def classification(self) -> Mapping[str, Any] | None:
        """What makes probabilities what is served, as the version keeps it; None of numbers."""
        return self.parameters.get("classification")

    @property
    def chosen(self) -> dict[str, Any]:
        """What fitting chose, less what is told apart."""
        apart = ("spread", "classification", "recipe", "notes", "failed", "columns", "likely_leaks")
        return {name: value for name, value in self.parameters.items() if name not in apart}


def version_id(input_hash: str, candidate: str) -> str:
    """The name of what the same rows, spec, code and candidate give, always the same; 12 hexadecimal digits."""
    return hashlib.sha256(f"{input_hash} {candidate}".encode()).hexdigest()[:12]


def version(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> Version | None:
    """A registered version, or None."""
    found = _row(con, exposure_name, version_id)
    return from_row(found) if found else None


def from_row(row: Mapping[str, Any]) -> Version:
    """A version of its row, as `row` gives it."""
    return Version(
        version_id=row["version_id"],
        candidate=row["candidate"],
        features=tuple(row["features"]),
        parameters=row["parameters"],
        artifact=Artifact(row["artifact_uri"], row["artifact_sha256"]),
        scaler=Artifact(row["scaler_uri"], row["scaler_sha256"]),
    )


def row(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> dict[str, Any]:
    """The whole row of a registered version, its spec and parameters as mappings."""
    found = _row(con, exposure_name, version_id)
    assert found is not None, f"no version {version_id} of {exposure_name}"
    return found


def _row(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> dict[str, Any] | None:
    query = "from lake.ml.model_versions where exposure = ? and version_id = ?"
    for found in tables.rows(con, query, [exposure_name, version_id]):
        return {**found, **{name: json.loads(found[name]) for name in ("spec", "parameters")}}
    return None


def version_ids(con: duckdb.DuckDBPyConnection, exposure_name: str) -> list[str]:
    """All of an exposure's, oldest first."""
    rows = con.execute(
        "select version_id from lake.ml.model_versions where exposure = ? order by trained_at", [exposure_name]
    ).fetchall()
    return [row[0] for row in rows]


def origin(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> tuple[Publication, datetime]:
    """The publication that a version learned from, and when it was committed."""
    found = row(con, exposure_name, version_id)
    learned_from = publication(con, found["publication_id"])
    assert learned_from is not None, f"{version_id} learned from no publication"
    return learned_from, found["trained_at"]


def learned_from(con: duckdb.DuckDBPyConnection, exposure: Exposure, version_ids: Sequence[str]) -> dict[str, str]:
    """By version: the rows that it learned from, as a table expression. None that had another key or target."""
    rows = con.execute(
        """
        select version_id, relation, snapshot_id, spec
        from lake.ml.model_versions
        where exposure = ? and version_id in (from unnest(?))
        order by version_id
        """,
        [exposure.name, list(version_ids)],
    ).fetchall()
    return {
        version_id: table_at(relation, snapshot_id)
        for version_id, relation, snapshot_id, spec in rows
        if not changed(exposure, json.loads(spec))
    }


def changed(exposure: Exposure, made_for: Mapping[str, Any]) -> str | None:
    """The key or target that a version was made for, where the exposure has another, to follow its name; else None."""
    asked, made = exposure.spec, key_columns(made_for["key"])
    if made != asked.key_columns:
        return f"was made for the key {', '.join(made)}, and the spec asks for {', '.join(asked.key_columns)}"
    if made_for["target"] != asked.target:
        return f"was made for the target {made_for['target']}, and the spec asks for {asked.target}"
    return None


def artifact_uris(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The files that registered versions name."""
    rows = con.execute("select artifact_uri, scaler_uri from lake.ml.model_versions").fetchall()
    return {str(uri) for row in rows for uri in row}


def load(con: duckdb.DuckDBPyConnection, exposure_name: str, version: Version) -> Any:
    """The version's fitted estimator, its row's signature and the file's sha256 checked first.

    Raises:
        ArtifactError: The row was not signed by this home's key, or the file is missing or was changed.
    """
    return artifacts.load(con, vouched(con, exposure_name, version).artifact)


def load_scaler(con: duckdb.DuckDBPyConnection, exposure_name: str, version: Version) -> Any:
    """The version's list [means by feature, StandardScaler], checked as `load` does.

    Raises:
        ArtifactError: As `load`.
    """
    return artifacts.load(con, vouched(con, exposure_name, version).scaler)


def vouched(con: duckdb.DuckDBPyConnection, exposure_name: str, version: Version) -> Version:
    """The version as its row has it, which a consumer signed with this home's key.

    Raises:
        ArtifactError: It is not signed, or not with this key, or its row was changed afterwards.
    """
    found = row(con, exposure_name, version.version_id)
    who = f"Version {version.version_id} of {exposure_name}"
    if not found["signature"]:
        raise ArtifactError(
            f"{who} is not signed, as those of earlier releases are not, and its file is not loaded. If it was "
            "made by whom you trust, sign it with `tract sign`"
        )
    if not signing.matches(_said(found), found["signature"]):
        raise ArtifactError(
            f"{who} was not signed with the key in {signing.file()}, or its row was changed afterwards, and its file "
            f"is not loaded. Where another home learns, set {signing.SETTING} to the key of that home and run `tract "
            "connect`; if you trust the row as it is, sign it with `tract sign`"
        )
    return from_row(found)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SIGNED}


def sign(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> bool:
    """Vouch for a version that is there, inside the caller's transaction; False where it is signed already.

    Raises:
        ArtifactError: A file of it is missing, or is not the one recorded.
    """
    found = row(con, exposure_name, version_id)
    if found["signature"] and signing.matches(_said(found), found["signature"]):
        return False
    for artifact in (from_row(found).artifact, from_row(found).scaler):
        artifacts.read(con, artifact)
    con.execute(
        "update lake.ml.model_versions set signature = ? where exposure = ? and version_id = ?",
        [signing.sign(_said(found)), exposure_name, version_id],
    )
    return True


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


def metrics(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> "pd.DataFrame":
    """All metrics of a version and of what was judged beside it: candidate, split, slice, metric, value."""
    return con.execute(
        """
        select candidate, split, slice, metric, value
        from lake.ml.model_metrics
        where exposure = ? and version_id = ?
        order by all
        """,
        [exposure_name, version_id],
    ).df()


def record(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    rows: int,
    metrics: "pd.DataFrame",
    heldout: "pd.DataFrame | pa.Table",
) -> None:
    """Write a version, what was measured of all that competed, and its held-out predictions.

    Inside the caller's transaction.

    Args:
        rows: How many it learned from.
        metrics: candidate, split, slice, metric, value.
        heldout: The columns of `Exposure.heldout_columns`, less exposure and version, and the key.
    """
    row: dict[str, Any] = {
        "exposure": exposure.name,
        "version_id": version.version_id,
        "candidate": version.candidate,
        "publication_id": publication.publication_id,
        "relation": publication.relation,
        "snapshot_id": publication.snapshot_id,
        "fingerprint": publication.fingerprint,
        "row_count": rows,
        "invocation_id": publication.invocation_id,
        "spec": exposure.spec.model_dump_json(exclude={"notify"}),  # people's addresses are none of a version's
        "code": code_version(exposure.estimators),
        "git_commit": git_commit(),
        "features": list(version.features),
        "parameters": json.dumps(version.parameters),
        "artifact_uri": version.artifact.uri,
        "artifact_sha256": version.artifact.sha256,
        "scaler_uri": version.scaler.uri,
        "scaler_sha256": version.scaler.sha256,
    }
    row["signature"] = signing.sign({**_said(row), **{name: json.loads(row[name]) for name in ("spec", "parameters")}})
    tables.insert(con, "ml.model_versions", row, moment="trained_at")
    record_judgement(con, exposure, version.version_id, metrics, heldout)


def record_judgement(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    version_id: str,
    metrics: "pd.DataFrame",
    heldout: "pd.DataFrame",
) -> None:
    """Write what was measured of a version by some splits; else as `record`."""
    same = {"exposure": exposure.name, "version_id": version_id}
    tables.append(con, "ml.model_metrics", metrics, same)
    tables.append(con, f"ml.{exposure.heldout}", heldout, same)


def heldout(
    con: duckdb.DuckDBPyConnection, exposure_name: str, version: Mapping[str, Any], columns: Sequence[str] = ()
) -> "pd.DataFrame":
    """The held-out predictions of a version by the split that it was judged by, in the order of the key.

    Args:
        version: Its row.
        columns: Of the table that it learned from, to stand beside them; left out where one is not there.

    Returns:
        The columns actual, predicted, lower, upper, and those; of classes, as text, actual, predicted, probabilities,
        prediction_set, and those.
    """
    spec = version["spec"]
    key = key_columns(spec["key"])
    learned_from = table_at(version["relation"], version["snapshot_id"])
    there = {column[0] for column in con.execute(f"describe from {learned_from}").fetchall()}
    beside = "".join(f", learned.{quoted(name)}" for name in columns) if there.issuperset(columns) else ""
    of_classes = "classification" in version["parameters"]
    promised = "heldout.probabilities, heldout.prediction_set" if of_classes else "heldout.lower, heldout.upper"
    heldout: pd.DataFrame = con.execute(
        f"""
        select heldout.actual, heldout.predicted, {promised}{beside}
        from lake.ml.{quoted(f"heldout_{predictions_table(spec['predictions'])}")} as heldout
        inner join (from {learned_from}) as learned using ({listed(key)})
        where heldout.exposure = ? and heldout.version_id = ? and heldout.split = ?
        order by {listed(key, of="heldout")}
        """,
        [exposure_name, version["version_id"], spec["split"]],
    ).df()
    return heldout
