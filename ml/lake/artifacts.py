"""Joblib files on S3, named by their content; nothing is loaded whose sha256 is not the one recorded."""

import hashlib
import io
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import duckdb

from ml import lake
from ml.code import MOVED
from ml.errors import TractError
from ml.lake.away import is_away
from ml.lake.sql import text


class ArtifactError(TractError):
    """An artifact is missing or is not the one recorded; the message names both hashes."""


@dataclass(frozen=True)
class Artifact:
    """An artifact's address, and the sha256 of its bytes."""

    uri: str
    sha256: str


def save(con: duckdb.DuckDBPyConnection, thing: object, suffix: str) -> Artifact:
    """Write an object as `artifacts/<sha256>.<suffix>.joblib`; the same content goes to the same place."""
    import joblib  # 1 s with numpy, which those who never save or load do not wait for

    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    uri = f"{lake.root(con)}/artifacts/{sha256}.{suffix}.joblib"
    con.execute(f"copy (select $1::blob) to {text(uri)} (format blob)", [content])
    return Artifact(uri, sha256)


def read(con: duckdb.DuckDBPyConnection, artifact: Artifact) -> bytes:
    """The bytes of an artifact, checked against the recorded sha256.

    Raises:
        ArtifactError: It is missing, or its bytes are not those recorded.
        LakeUnavailableError: S3 does not answer.
    """
    try:
        row = con.execute("select content from read_blob(?)", [_here(con, artifact.uri)]).fetchone()
    except duckdb.Error as error:
        if is_away(error):
            raise lake.unavailable("its S3 does not answer", error) from None
        raise ArtifactError(f"Artifact {artifact.uri} cannot be read: {lake.first_line(error)}.") from None
    if row is None:
        raise ArtifactError(f"Artifact {artifact.uri} is missing: restore it from a backup of the bucket.")
    content = bytes(row[0])
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != artifact.sha256:
        raise ArtifactError(
            f"Artifact {artifact.uri} has sha256 {sha256}, but {artifact.sha256} was recorded: it was changed after "
            "it was written, and is not loaded."
        )
    return content


def _here(con: duckdb.DuckDBPyConnection, uri: str) -> str:
    """Where an artifact is now: a lake that was restored elsewhere has it below another root than it was written to."""
    return re.sub(r"^.*/(?=(artifacts|cards)/)", lambda _: f"{lake.root(con)}/", uri)


def load(con: duckdb.DuckDBPyConnection, artifact: Artifact) -> Any:
    """The object in an artifact whose bytes have the recorded sha256.

    Raises:
        ArtifactError: It is missing, its bytes are not those recorded, or today's code lacks what it names.
    """
    content = read(con, artifact)
    import joblib

    for module, moved in MOVED.items():
        if module.encode() in content:  # a file of an earlier release
            sys.modules.setdefault(module, import_module(moved))
    try:
        return joblib.load(io.BytesIO(content))
    except (ImportError, AttributeError) as error:
        raise ArtifactError(
            f"Artifact {artifact.uri} is made of what today's code and packages do not have: {error}. Check out the "
            "commit that its version names."
        ) from None
