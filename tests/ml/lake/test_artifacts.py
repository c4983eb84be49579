"""Files are named by their content, and nothing is loaded that is not what was recorded."""

import hashlib
from dataclasses import replace

import duckdb
import pytest

from ml import consumption, lake
from ml.exposures import Exposure
from ml.lake import artifacts
from ml.records import champions, versions
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def test_what_is_saved_is_named_by_its_bytes_and_read_back(con: duckdb.DuckDBPyConnection) -> None:
    saved = artifacts.save(con, {"slope": 3.0}, "model")
    assert saved.uri == f"{lake.root(con)}/artifacts/{saved.sha256}.model.joblib"
    assert hashlib.sha256(artifacts.read(con, saved)).hexdigest() == saved.sha256
    assert artifacts.load(con, saved) == {"slope": 3.0}
    assert artifacts.save(con, {"slope": 3.0}, "model") == saved
    assert artifacts.save(con, {"slope": 4.0}, "model").sha256 != saved.sha256


def test_what_is_missing_or_not_as_recorded_says_which_file(con: duckdb.DuckDBPyConnection) -> None:
    saved = artifacts.save(con, {"slope": 3.0}, "model")
    gone = replace(saved, uri=f"{saved.uri}.gone")
    with pytest.raises(artifacts.ArtifactError, match=rf"^Artifact {gone.uri} (cannot be read|is missing)"):
        artifacts.load(con, gone)
    with pytest.raises(artifacts.ArtifactError, match=f"has sha256 {saved.sha256}, but abc was recorded"):
        artifacts.load(con, replace(saved, sha256="abc"))


def test_what_today_s_code_does_not_have_is_not_loaded(con: duckdb.DuckDBPyConnection) -> None:
    content = b"\x80\x04cml.nowhere\nThing\n."  # a pickle that names a class of a module that is not there
    uri = f"{lake.root(con)}/artifacts/nowhere.joblib"
    con.execute(f"copy (select $1::blob) to '{uri}' (format blob)", [content])
    with pytest.raises(artifacts.ArtifactError, match=r"do not have: No module named 'ml\.nowhere'\. Check out"):
        artifacts.load(con, artifacts.Artifact(uri, hashlib.sha256(content).hexdigest()))


def test_a_changed_artifact_is_not_loaded(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    publish()
    consumption.consume(exposure, say=silent)
    champion = champions.champion(con, "points")
    assert champion is not None
    con.execute(f"copy (select 'not a model'::blob) to '{champion.artifact.uri}' (format blob)")
    with pytest.raises(artifacts.ArtifactError, match=f"but {champion.artifact.sha256} was recorded"):
        versions.load(con, champion)
