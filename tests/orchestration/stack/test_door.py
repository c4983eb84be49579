"""The secrets, and what can be done with nothing else."""

import os
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import psycopg2
import pytest
from psycopg2 import sql

from orchestration import stack
from orchestration.stack import extensions, postgres, remote, s3, secrets
from orchestration.stack.layout import StackError

from .conftest import Command, lake, servers


def test_a_small_table_is_parquet_on_s3(home: Path) -> None:
    with lake(home) as connection:
        connection.execute("create table lake.small as select 1 as n")
        files = connection.execute("select data_file from ducklake_list_files('lake', 'small')").fetchall()
        assert [name.startswith("s3://tract/lake/") and name.endswith(".parquet") for (name,) in files] == [True]
        assert connection.execute(f"select n from read_parquet('{files[0][0]}')").fetchall() == [(1,)]


def test_bytes_go_to_s3_and_come_back(home: Path) -> None:
    with lake(home) as connection:
        connection.execute("copy (select '\\x00\\xFFmodel'::blob) to 's3://tract/artifacts/a.bin' (format blob)")
        read = connection.execute("select content from read_blob('s3://tract/artifacts/a.bin')").fetchall()
    assert read == [(b"\x00\xffmodel",)]


def test_what_holds_credentials_is_its_owners_alone(home: Path) -> None:
    for folder in ("secrets", "run", "logs", "s3", "tmp", "postgres"):
        assert stat.S_IMODE((home / folder).stat().st_mode) == 0o700, folder
    files = [*(home / "secrets").iterdir(), *(home / "run").glob("*.json")]
    assert {path.name for path in files} >= {"tract.duckdb_secret", "tract_s3.duckdb_secret", "postgres.json"}
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: 0o600 for path in files}


def test_another_lake_on_the_same_servers_with_awkward_names(home: Path, tmp_path: Path) -> None:
    awkward = 'it\'s; "a" \\ b'
    admin = postgres.address(home)
    with closing(_enter(admin)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("create database {}").format(sql.Identifier(awkward)))
    place = replace(s3.address(home), root="s3://tract/it's another")
    secrets.write(tmp_path, home / "extensions", place, replace(admin, database=awkward))
    with lake(home, tmp_path) as connection:
        connection.execute("create table lake.only_here as select 7 as n")
        files = connection.execute("select data_file from ducklake_list_files('lake', 'only_here')").fetchall()
        assert files[0][0].startswith("s3://tract/it's another/lake/")
        assert connection.execute("select n from lake.only_here").fetchall() == [(7,)]
    with lake(home) as connection:
        tables = connection.execute("select table_name from duckdb_tables() where database_name = 'lake'").fetchall()
    assert ("only_here",) not in tables


def test_secrets_keep_any_value_and_are_not_written_twice(home: Path, tmp_path: Path) -> None:
    awkward = 'it\'s; "a" \\ b'
    there = secrets.S3("127.0.0.1:1", awkward, awkward, awkward, True, "vhost", "s3://other")
    catalog = secrets.Postgres("127.0.0.1", 1, awkward, awkward, awkward)
    assert secrets.write(tmp_path, home / "extensions", there, catalog)
    assert not secrets.write(tmp_path, home / "extensions", there, catalog)
    assert secrets.write(tmp_path, home / "extensions", there, replace(catalog, password="other"))
    with duckdb.connect(
        config={
            "secret_directory": str(tmp_path),
            "extension_directory": str(home / "extensions"),
            "allow_unredacted_secrets": True,
        }
    ) as connection:
        for name in extensions.NAMES:
            connection.execute(f"load {name}")
        rows = connection.execute("select secret_string from duckdb_secrets(redact = false)").fetchall()
    text = "\n".join(row for (row,) in rows)
    assert text.count(awkward) == 5  # the sixth, the password, was replaced
    assert [path.name for path in tmp_path.parent.glob(".secrets-*")] == []


def test_a_reader_always_finds_the_secrets_while_they_are_rewritten(home: Path, tmp_path: Path) -> None:
    there, catalog = s3.address(home), postgres.address(home)
    secrets.write(tmp_path, home / "extensions", there, catalog)
    missing: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for name in ("tract", "tract_s3", "tract_catalog"):
                try:
                    if not (tmp_path / f"{name}.duckdb_secret").read_bytes():
                        missing.append(name)
                except FileNotFoundError:
                    missing.append(name)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for turn in range(3):
        assert secrets.write(tmp_path, home / "extensions", replace(there, region=f"r{turn}"), catalog)
    done.set()
    watcher.join()
    assert missing == []


@pytest.mark.slow
def test_connect_names_what_is_missing_and_what_does_not_fit(tmp_path: Path, command: Command) -> None:
    said = command(tmp_path / "home", "connect", TRACT_S3_ENDPOINT="storage", TRACT_POSTGRES_HOST="catalog")
    assert said.returncode == 1
    assert said.stderr == (
        "Missing settings: TRACT_S3_KEY_ID, TRACT_S3_SECRET, TRACT_S3_ROOT, TRACT_POSTGRES_USER, "
        "TRACT_POSTGRES_PASSWORD, TRACT_POSTGRES_DATABASE.\n"
    )
    assert not (tmp_path / "home" / "run").exists()
    required = {name: "x" for name, default in remote.SETTINGS.items() if default is None}
    said = command(tmp_path / "home", "connect", **required, TRACT_POSTGRES_PORT="many", TRACT_POSTGRES_SSLMODE="yes")
    assert said.returncode == 1
    assert "TRACT_S3_ROOT=x, TRACT_POSTGRES_PORT=many, TRACT_POSTGRES_SSLMODE=yes (" in said.stderr
    assert "SSLMODE one of disable, allow, prefer, require, verify-ca, verify-full)" in said.stderr


def test_after_connect_up_starts_nothing_and_down_stops_nothing(home: Path, tmp_path: Path, command: Command) -> None:
    there, catalog = s3.address(home), postgres.address(home)
    other = tmp_path / "home"
    given = {
        "TRACT_S3_ENDPOINT": there.endpoint,
        "TRACT_S3_KEY_ID": there.key_id,
        "TRACT_S3_SECRET": there.secret,
        "TRACT_S3_USE_SSL": "false",
        "TRACT_S3_ROOT": there.root,
        "TRACT_POSTGRES_HOST": catalog.host,
        "TRACT_POSTGRES_PORT": str(catalog.port),
        "TRACT_POSTGRES_USER": catalog.user,
        "TRACT_POSTGRES_PASSWORD": catalog.password,
        "TRACT_POSTGRES_DATABASE": catalog.database,
    }
    other.mkdir()
    (other / "extensions").symlink_to(home / "extensions")
    before = servers(home)
    connected = command(other, "connect", **given)
    assert (connected.returncode, connected.stderr) == (0, "")
    assert "someone else's" in connected.stdout
    assert catalog.password not in connected.stdout
    again = command(other, "up")
    assert (again.returncode, again.stderr) == (0, "")
    assert command(other, "down").stdout == "nothing ran\n"
    assert servers(home) == before and servers(other) == []
    closed = command(other, "connect", **given | {"TRACT_POSTGRES_PASSWORD": "wrong"})
    assert closed.returncode == 1
    assert closed.stderr.startswith("The lake cannot be opened: ")
    assert "Traceback" not in closed.stderr
    assert command(other, "up").returncode == 0  # what was connected before still is
    assert command(other, "connect", "--local").returncode == 0
    assert {row.state for row in stack.status(other)} == {"stopped"}


def test_how_postgres_is_to_be_trusted_is_heeded(home: Path, tmp_path: Path) -> None:
    strict = replace(postgres.address(home), sslmode="verify-full", sslrootcert=str(tmp_path / "root.crt"))
    secrets.write(tmp_path, home / "extensions", s3.address(home), strict)
    with pytest.raises(StackError, match="server does not support SSL, but SSL was required"):
        remote.check(tmp_path, home / "extensions")


def test_extensions_are_installed_once(home: Path) -> None:
    files = sorted((home / "extensions").rglob("*.duckdb_extension"))
    assert [path.name.split(".")[0] for path in files] == ["ducklake", "httpfs", "postgres_scanner"]
    before = [os.stat(path).st_mtime_ns for path in files]
    extensions.install(home / "extensions")
    assert [os.stat(path).st_mtime_ns for path in files] == before


def test_nobody_else_writes_an_extension_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        extensions.install(tmp_path / "extensions")
    finally:
        os.umask(umask)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, *tmp_path.rglob("*")) if path != tmp_path}
    assert modes == {0o755, 0o644}


def _enter(there: secrets.Postgres) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host=there.host, port=there.port, user=there.user, password=there.password, dbname=there.database
    )
