"""A backup is of one moment, and the lake that is made of it elsewhere is the same one."""

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import duckdb
import pytest

from ml import consumption, lake
from ml.exposures import Exposure
from ml.lake import artifacts, signing
from ml.records import champions, publications, versions
from ml.replay import replay
from orchestration import backups
from orchestration.backups import Backup, BackupError
from orchestration.stack import s3
from tests.conftest import new_lake
from tests.ml.conftest import Publish
from tests.ml.rows import silent
from tests.warehouse import until

Restored = Callable[[Path], Path]


@pytest.fixture
def restored(servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Restored:
    """Make the lake of a backup in another bucket and another database, and enter it; the home."""

    def make(directory: Path) -> Path:
        home = new_lake(servers, tmp_path / f"of {directory.name}")
        monkeypatch.setenv("TRACT_HOME", str(home))
        with lake.store().open_output_stream(f"{s3.OWN}ready") as stream:  # as the local stack's bucket has it
            stream.write(b"yes")
        backups.restore(directory, silent)
        return home

    return make


def tables(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[object, ...]]]:
    names = con.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'lake' order by all"
    ).fetchall()
    return {name: con.execute(f"from lake.{name} order by all").fetchall() for (name,) in names}


def test_a_lake_that_is_restored_elsewhere_is_the_same_and_goes_on(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, restored: Restored, tmp_path: Path
) -> None:
    first = publish()
    assert consumption.consume(exposure, say=silent) is not None
    publish(0.2)
    assert consumption.consume(exposure, say=silent) is not None
    then, root, ledger, key = tables(con), lake.root(con), publications.ledger(con), signing.key()
    backup = backups.back_up(tmp_path / "backup", silent)
    assert backup.root == root
    assert {path.split("/")[0] for path in backup.objects} == {"artifacts", "lake"}
    files = {file.relative_to(tmp_path / "backup").as_posix() for file in (tmp_path / "backup").rglob("*.*")}
    assert files == {"catalog.sql", "backup.json", *(f"objects/{path}" for path in backup.objects)}
    for secret in lake.secrets().values():
        for part in secret.split(";"):
            name, _, value = part.partition("=")
            if name in ("secret", "password"):
                assert value not in (tmp_path / "backup" / "catalog.sql").read_text()
    assert not [file for file in (tmp_path / "backup").rglob("*.*") if key.encode() in file.read_bytes()]
    restored(tmp_path / "backup")
    for name in {version for (version,) in con.execute("select artifact_uri from lake.ml.model_versions").fetchall()}:
        lake_file = name.removeprefix(f"{root}/")
        assert lake_file in backup.objects
    with lake.connect() as other:
        assert tables(other) == then
        assert lake.root(other) != root
        assert publications.ledger(other) != ledger  # what an older Dagster tried of that lake counts for nothing here
        champion = champions.champion(other, "points")
        assert champion is not None
        assert not champion.artifact.uri.startswith(f"{lake.root(other)}/")
        with pytest.raises(artifacts.ArtifactError, match="was not signed with the key in"):
            versions.load(other, "points", champion)  # a backup holds no key, and the new home has another
        signing.file().unlink()
        signing.take(key)
        assert versions.load(other, "points", champion).n_features_in_ == 2  # read below the new root
    assert replay(exposure, first, say=silent).holds
    assert consumption.consume(exposure, say=silent) is None  # nothing waits


def test_a_backup_while_publications_are_consumed_is_of_one_moment(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, restored: Restored, tmp_path: Path
) -> None:
    publish()
    consumption.consume(exposure, say=silent)
    stop = Event()

    def go_on() -> None:
        for number in range(1, 100):
            if stop.is_set():
                return
            publish(number / 100)
            consumption.consume(exposure, say=silent)

    busy = Thread(target=go_on)
    busy.start()
    made: list[Backup] = []
    try:
        with lake.connect() as looking:

            def written_since() -> bool:
                ((newest,),) = looking.execute("select id from lake.current_snapshot()").fetchall()
                return bool(newest > made[-1].snapshot)

            for number in range(3):
                made.append(backups.back_up(tmp_path / f"backup {number}", silent))
                until(written_since, "nobody writes")
    finally:
        stop.set()
        busy.join()
    assert made[0].snapshot < made[1].snapshot < made[2].snapshot
    for number in range(3):
        restored(tmp_path / f"backup {number}")
        with lake.connect() as other:
            halves = other.execute(
                """
                select publications.publication_id
                from lake.ops.consumptions as consumptions
                inner join lake.ops.publications as publications using (publication_id)
                left join lake.ml.predictions as predictions
                    on consumptions.predicted_publication_id = predictions.publication_id
                group by all
                having count(predictions.id) != any_value(publications.row_count)
                """
            ).fetchall()
            assert halves == []
            rows = other.execute("select artifact_uri, artifact_sha256 from lake.ml.model_versions").fetchall()
            assert rows
            for uri, sha256 in rows:
                assert artifacts.read(other, artifacts.Artifact(uri, sha256))
            for (snapshot,) in other.execute("select snapshot_id from lake.ops.publications").fetchall():
                counted = other.execute(f"select count(*) from lake.features.points at (version => {snapshot})")
                assert counted.fetchall() == [(400,)]


def test_what_cannot_be_restored_is_said_and_nothing_is_written(
    con: duckdb.DuckDBPyConnection, publish: Publish, restored: Restored, tmp_path: Path
) -> None:
    publish()
    directory = tmp_path / "backup"
    backup = backups.back_up(directory, silent)
    with pytest.raises(BackupError, match=r"is not empty\. Name a directory that is not there yet"):
        backups.back_up(directory, silent)
    with pytest.raises(BackupError, match=r"holds a lake already\. Restore to another database"):
        backups.restore(directory, silent)
    path = next(path for path in backup.objects if path.startswith("lake/"))
    content = (directory / "objects" / path).read_bytes()
    (directory / "objects" / path).write_bytes(content[:-1] + b"x")
    with pytest.raises(BackupError, match="is missing, or not as it was written"):
        restored(directory)
    (directory / "objects" / path).write_bytes(content)
    contents = directory / "backup.json"
    told = contents.read_text()
    contents.write_text(json.dumps(json.loads(told) | {"format": 9}))
    with pytest.raises(BackupError, match="is a backup of format 9, and this release reads 1"):
        backups.restore(directory, silent)
    contents.unlink()
    with pytest.raises(BackupError, match="holds no whole backup"):
        backups.restore(directory, silent)
    contents.write_text(told)
    backups.restore(directory, silent)
    with lake.connect() as other:
        assert other.execute("select count(*) from lake.features.points").fetchall() == [(400,)]
