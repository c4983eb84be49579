"""Files are named by their content, and nothing is loaded that is not what was recorded."""

import hashlib
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ml import consumption, lake
from ml.exposures import Exposure
from ml.lake import artifacts, signing
from ml.monitoring import checks
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
        versions.load(con, "points", champion)


def test_a_row_that_no_consumer_of_this_home_signed_is_not_loaded(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    publish()
    consumption.consume(exposure, say=silent)
    champion = champions.champion(con, "points")
    assert champion is not None
    loaded = versions.load(con, "points", champion)
    hostile = artifacts.save(con, Hostile(str(tmp_path / "ran")), "model")
    for change in (
        f"artifact_uri = '{hostile.uri}', artifact_sha256 = '{hostile.sha256}'",
        f"scaler_uri = '{hostile.uri}', scaler_sha256 = '{hostile.sha256}'",
        "parameters = json_merge_patch(parameters, '{\"spread\": 1}')",
        "row_count = row_count + 1",
        "features = list_reverse(features)",
        "signature = null",
        "signature = 'hmac-sha256:00'",
    ):
        con.execute("begin")
        con.execute(f"update lake.ml.model_versions set {change}")
        as_it_says = champions.champion(con, "points")
        assert as_it_says is not None
        for read in (versions.load, versions.load_scaler):
            with pytest.raises(artifacts.ArtifactError, match=f"^Version {champion.version_id} of points (is|was) not"):
                read(con, "points", as_it_says)
        assert not checks.artifact_unchanged(con, exposure)[0]
        con.execute("rollback")
    assert not (tmp_path / "ran").exists()
    assert checks.artifact_unchanged(con, exposure)[0]
    key = signing.file().read_text()
    signing.file().unlink()  # as in a reader's home, which makes itself another
    with pytest.raises(artifacts.ArtifactError, match=r"was not signed with the key in .*signing_key, or its row was"):
        versions.load(con, "points", champion)
    signing.file().write_text(key)
    assert versions.load(con, "points", champion)[-1].alpha == loaded[-1].alpha


class Hostile:
    """What runs when it is unpickled."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.file, "w")
