"""A lake in a directory: its catalog as Postgres's own dump, and the objects that it names. Secrets are not in it.

The dump and the list of objects are of one moment, whatever is built and consumed meanwhile: both are read in one
transaction of Postgres, and DuckLake changes no file that it has written.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg2

from ml import lake
from ml.errors import TractError
from ml.lake import environment, locks
from ml.lake.sql import text
from ml.progress import Say
from orchestration.stack import postgres, s3

if TYPE_CHECKING:
    from pyarrow import fs

FORMAT = 1
CATALOG, OBJECTS, CONTENTS = "catalog.sql", "objects", "backup.json"
DATA = "lake"  # DuckLake's own folder, below the lake's root
COPIES = 8  # at a time: S3 answers each after some milliseconds
CHUNK = 8_000_000  # bytes in memory, of each

# Data and delete files of every snapshot that is kept, below DuckLake's folder; an absolute path is somebody else's.
FILES_SQL = """
    with files as (
        select table_id, path, path_is_relative from ducklake_data_file
        union
        select table_id, path, path_is_relative from ducklake_delete_file
    )
    select distinct
        case when files.path_is_relative and tables.path_is_relative and schemas.path_is_relative
            then schemas.path || tables.path || files.path
        end,
        files.path
    from files
    inner join ducklake_table as tables on files.table_id = tables.table_id
    inner join ducklake_schema as schemas on tables.schema_id = schemas.schema_id
"""
# Another lake from here on: what an older Dagster tried of publications of the same names counts for nothing.
RENAME_SQL = "update public.ducklake_table set table_uuid = gen_random_uuid() where table_name = 'publications'"
EMPTY_SQL = """
    do $$ declare name text; begin
        for name in select tablename from pg_tables where schemaname = 'public' and starts_with(tablename, 'ducklake_')
        loop execute format('drop table public.%I', name); end loop;
    end $$
"""


class BackupError(TractError):
    """A backup cannot be made or restored; the message names the place, what was found, and what to do."""


@dataclass(frozen=True)
class Backup:
    """What a directory holds.

    Attributes:
        root: The S3 address that the lake had.
        snapshot: The lake's newest then.
        objects: The size in bytes and the sha256 of each object, by its path below the root.
    """

    root: str
    snapshot: int
    objects: dict[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(size for size, _ in self.objects.values())


def back_up(directory: Path, say: Say = print) -> Backup:
    """Write the lake into a directory that is empty or not there; builds and consumptions go on meanwhile.

    Raises:
        LakeUnavailableError: The lake is not up.
        BackupError: The directory holds something, or an object is gone that the catalog names.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BackupError(f"{directory} is not empty. Name a directory that is not there yet.")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lake.connect() as con:
        root = lake.root(con)
    store = lake.store()
    with _one_moment() as (moment, ask):
        arguments = ["--no-owner", "--no-privileges", f"--snapshot={moment}", "--file", str(directory / CATALOG)]
        _run(["pg_dump", *arguments])
        ((snapshot,),) = ask("select max(snapshot_id) from ducklake_snapshot")
        files = ask(FILES_SQL)
    if foreign := [path for relative, path in files if relative is None]:
        raise BackupError(f"{foreign[0]} is not below {root}, and the catalog names it: a backup would not hold it.")
    paths = [f"{DATA}/{relative}" for relative, _ in files] + _beside(store)
    with ThreadPoolExecutor(COPIES) as pool:
        objects = dict(zip(paths, pool.map(lambda path: _fetch(store, path, directory), paths), strict=True))
    backup = Backup(root, int(snapshot), objects)
    told = {"format": FORMAT, "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", **vars(backup)}
    (directory / CONTENTS).write_text(json.dumps(told, indent=1))  # last: without it a backup is not whole
    say(f"Wrote {len(paths):,} objects, {backup.size / 1e6:,.1f} MB, and the catalog at snapshot {snapshot}.")
    return backup


def restore(directory: Path, say: Say = print) -> Backup:
    """Make the lake of a backup where the home's secrets lead: another bucket, another database, both empty.

    Objects come first and the catalog after them, in one transaction: nobody sees half a lake.

    Raises:
        LakeUnavailableError: Postgres or S3 is not up.
        BackupError: The backup is not whole, or something is there already.
    """
    backup = read(directory)
    root = _root()
    store = lake.store()
    with locks.lock("build", say=say):
        _refuse_what_is_there(store, root)
        with ThreadPoolExecutor(COPIES) as pool:
            list(pool.map(lambda path: _send(store, path, directory), backup.objects))
        moved = [
            f"update public.ducklake_metadata set value = {text(f'{root}/{DATA}/')} where key = 'data_path'",
            f"update public.ducklake_view set sql = replace(sql, {text(f'{backup.root}/')}, {text(f'{root}/')})",
            RENAME_SQL,
        ]
        then = [argument for statement in moved for argument in ("--command", statement)]
        told = ["--command", EMPTY_SQL, "--file", str(directory / CATALOG), *then]
        _run(["psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set", "ON_ERROR_STOP=1", *told])
    say(f"Restored {len(backup.objects):,} objects, {backup.size / 1e6:,.1f} MB, at snapshot {backup.snapshot}.")
    return backup


def read(directory: Path) -> Backup:
    """What a directory holds, each object checked against its sha256.

    Raises:
        BackupError: It is no whole backup, or of a later release.
    """
    contents = directory / CONTENTS
    if not contents.exists() or not (directory / CATALOG).exists():
        raise BackupError(f"{directory} holds no whole backup: {CONTENTS}, which is written last, is not there.")
    told = json.loads(contents.read_text())
    if told["format"] != FORMAT:
        raise BackupError(f"{directory} is a backup of format {told['format']}, and this release reads {FORMAT}.")
    backup = Backup(
        told["root"], told["snapshot"], {path: (size, sha256) for path, (size, sha256) in told["objects"].items()}
    )
    for path, (size, sha256) in backup.objects.items():
        file = directory / OBJECTS / path
        if not file.exists() or (file.stat().st_size, _sha256(file)) != (size, sha256):
            raise BackupError(f"{file} is missing, or not as it was written. Take another backup.")
    return backup


def _refuse_what_is_there(store: "fs.FileSystem", root: str) -> None:
    with _one_moment() as (_, ask):
        ((catalog,),) = ask("select to_regclass('public.ducklake_snapshot') is not null")
        ((used,),) = ask("select max(snapshot_id) > 0 from ducklake_snapshot") if catalog else ((False,),)
    if used:
        raise BackupError(f"The catalog of {root} holds a lake already. Restore to another database (`tract connect`).")
    if found := _objects(store, ""):
        raise BackupError(f"{root}/{found[0]} is there already. Restore to a place in S3 that is empty.")


def _root() -> str:
    """The S3 address above the lake's own files, by the secret: a catalog need not be there yet."""
    said = locks.parse_secret(lake.secrets()["tract_s3"], "scope|key_id|secret|endpoint|region|use_ssl|url_style")
    return said["scope"].rstrip("/")


def _beside(store: "fs.FileSystem") -> list[str]:
    """Every object that is not DuckLake's own: artifacts, cards, exports; written before what names them."""
    return [path for path in _objects(store, "") if not path.startswith(f"{DATA}/")]


def _objects(store: "fs.FileSystem", folder: str) -> list[str]:
    from pyarrow import fs

    found = store.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files = [info.path for info in found if info.type == fs.FileType.File]
    return sorted(path for path in files if not path.startswith(s3.OWN))


def _fetch(store: "fs.FileSystem", path: str, directory: Path) -> tuple[int, str]:
    file = directory / OBJECTS / path
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with store.open_input_stream(path) as stream, file.open("wb") as copy:
            shutil.copyfileobj(stream, copy, CHUNK)
    except FileNotFoundError:
        raise BackupError(
            f"{path} is gone, and the catalog named it: maintenance removed it meanwhile. Start again, in another "
            "directory; if that says the same, the lake has lost the file."
        ) from None
    return file.stat().st_size, _sha256(file)


def _send(store: "fs.FileSystem", path: str, directory: Path) -> None:
    with (directory / OBJECTS / path).open("rb") as file, store.open_output_stream(path) as stream:
        shutil.copyfileobj(file, stream, CHUNK)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def _one_moment() -> "Iterator[tuple[str, Any]]":
    """A transaction of Postgres that sees one moment: its name, for pg_dump, and what asks in it."""
    environment.settle()
    try:
        parameters: dict[str, Any] = {**locks.secret()}
        con = psycopg2.connect(**parameters)
    except psycopg2.OperationalError as error:
        raise lake.unavailable("its Postgres does not answer", error) from None
    with closing(con), con.cursor() as cursor:
        con.set_session(isolation_level="REPEATABLE READ", readonly=True)

        def ask(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            return list(cursor.fetchall())

        ((moment,),) = ask("select pg_export_snapshot()")
        yield str(moment), ask


def _run(command: Sequence[str]) -> None:
    """One of Postgres's programs, as the catalog's secret says; its password goes by a file that only we can read."""
    said = locks.secret()
    program, *arguments = command
    with TemporaryDirectory() as private:
        passwords = Path(private) / "pgpass"
        passwords.touch(mode=0o600)
        escaped = said.get("password", "").replace("\\", "\\\\").replace(":", "\\:")
        passwords.write_text(f"*:*:*:*:{escaped}\n")
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}
        names |= {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
        entered = {variable: said[name] for name, variable in names.items() if said.get(name)}
        told = subprocess.run(
            [str(postgres.installed() / program), *arguments],
            env={**os.environ, **entered, "PGPASSFILE": str(passwords)},
            capture_output=True,
            text=True,
            check=False,
        )
    if told.returncode:
        raise BackupError(f"{program} failed: {' '.join(told.stderr.split())}")
