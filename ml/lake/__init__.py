"""The one door to the lake: `ATTACH 'ducklake:tract' AS lake` with the secrets of Tract's home directory."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ml.code import command, project
from ml.errors import MemoryRanOutError, TractError
from ml.lake import environment, patience

if TYPE_CHECKING:
    from pyarrow import fs

EXTENSIONS = ("httpfs", "ducklake", "postgres_scanner")
ATTACH = "attach if not exists 'ducklake:tract' as lake"
# Not what TZ says, which may name a zone that Python does not know: an empty one is Etc/Unknown to DuckDB. For the
# cursors of a connection too, which are sessions of their own.
IN_UTC = "set global timezone = 'UTC'"

environment.settle()  # before anything of ours asks a server, or starts one


class LakeUnavailableError(TractError):
    """The lake cannot be entered; the message says which part is missing and what starts it."""


def home() -> Path:
    """Where the secrets, the extensions and spilled data are: `TRACT_HOME`, or `.lake` in the project."""
    configured = os.environ.get("TRACT_HOME")
    return Path(configured).resolve() if configured else project() / ".lake"


def config() -> dict[str, str | bool | int | float | list[str]]:
    """DuckDB's settings for any process that enters the lake.

    `TRACT_MEMORY_LIMIT` (for example `2GB`) and `TRACT_THREADS` bound it; without them DuckDB's defaults hold.
    """
    environment.settle()  # a notebook, or a .env file, may have set more since
    settings: dict[str, str | bool | int | float | list[str]] = {
        "secret_directory": str(home() / "secrets"),
        "extension_directory": str(home() / "extensions"),
        "temp_directory": str(home() / "tmp"),
        "autoinstall_known_extensions": False,
    }
    for name in ("memory_limit", "threads"):
        if value := os.environ.get(f"TRACT_{name.upper()}"):
            settings[name] = value
    return settings


def unavailable(part: str, found: object) -> LakeUnavailableError:
    """The one sentence for a lake that is not there, with the command that starts it."""
    if patience.NO_ROOM.search(str(found)):
        return LakeUnavailableError(
            f"The lake has no room: {part} ({first_line(found)}). Raise max_connections of its Postgres, or the limit "
            "of the role (TRACT_POSTGRES_USER)."
        )
    return LakeUnavailableError(f"The lake is not up: {part} ({first_line(found)}). Start it with {command('up')}.")


def first_line(error: object) -> str:
    """The first line of an error's text, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def load_extensions(con: duckdb.DuckDBPyConnection, extensions: tuple[str, ...] = EXTENSIONS) -> None:
    """Load extensions that `make up` installed from their wheels."""
    for extension in extensions:
        try:
            con.execute(f"load {extension}")
        except duckdb.IOException as error:
            raise unavailable(f"DuckDB's extension {extension} is not in {home() / 'extensions'}", error) from None


def _duckdb(**more: bool) -> duckdb.DuckDBPyConnection:
    """A DuckDB with the extensions.

    DuckDB reads 100 MB to check their signatures, 0.5 s of a core at each connection. `make up` has had it check them
    once, when it put them there; these three are all that is loaded without.
    """
    try:
        con = duckdb.connect(config={**config(), **more, "allow_unsigned_extensions": True})
    except (duckdb.ParserException, duckdb.InvalidInputException) as error:
        raise LakeUnavailableError(
            f"DuckDB does not take its settings: {first_line(error)}. Set TRACT_MEMORY_LIMIT to such as 2GB, and "
            "TRACT_THREADS to a whole number."
        ) from None
    try:
        load_extensions(con)
        con.execute("set allow_unsigned_extensions = false")
    except BaseException:
        con.close()
        raise
    return con


def secrets() -> dict[str, str]:
    """The parameters of the home's DuckDB secrets, unredacted, as DuckDB writes them: `k=v;k=v` by secret."""
    files = (home() / "secrets").glob("*.duckdb_secret")
    # a secret that is written anew is another file
    return dict(_secrets(home(), frozenset((file.name, (at := file.stat()).st_ino, at.st_mtime_ns) for file in files)))


@lru_cache(maxsize=1)  # asked for by each lock, each look at S3 and each artifact
def _secrets(home: Path, files: frozenset[tuple[str, int, int]]) -> list[tuple[str, str]]:
    with _duckdb(allow_unredacted_secrets=True) as con:
        return con.execute("select name, secret_string from duckdb_secrets(redact = false)").fetchall()


def check() -> None:
    """See that S3 listens and the secrets are there; attaching asks Postgres alone, and S3 fails late.

    Raises:
        LakeUnavailableError: There is no secret for S3, or nothing listens where it says.
    """
    said = secrets().get("tract_s3")
    if said is None:
        raise unavailable("its S3 is not known", f"no secret tract_s3 in {home() / 'secrets'}")
    endpoint = re.search(r"(?:^|;)endpoint=([^;:]+)(?::(\d+))?;", said)
    if endpoint:  # without one it is AWS's own, which is up
        host, port = endpoint[1], int(endpoint[2] or (80 if "use_ssl=false" in said else 443))
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            raise unavailable(f"its S3 does not answer at {host}:{port}", error) from None


def connect() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB of this process with the lake attached as `lake` and in use.

    Raises:
        LakeUnavailableError: The secrets, Postgres or S3 are not there.
        MemoryRanOutError: DuckDB may not use enough to read the lake's catalog.
    """
    con = _duckdb()
    try:
        con.execute(patience.S3_SQL)
        patience.patiently(lambda: con.execute(ATTACH))
        con.execute("use lake")
        con.execute(IN_UTC)
        # counts how far a statement is, for `ml.progress`; nothing is drawn
        with suppress(duckdb.InvalidInputException):  # in Jupyter DuckDB refuses without ipywidgets: it counts nothing
            con.execute(
                "set enable_progress_bar = true; set enable_progress_bar_print = false; set progress_bar_time = 0"
            )
    except duckdb.OutOfMemoryException as error:
        con.close()
        raise MemoryRanOutError(
            f"DuckDB ran out of memory when it opened the lake ({first_line(error)}). Raise TRACT_MEMORY_LIMIT."
        ) from None
    except duckdb.Error as error:
        con.close()
        raise unavailable("its catalog does not answer", error) from None
    return con


@contextmanager
def transaction(
    con: duckdb.DuckDBPyConnection, author: str, message: str, confirm: Callable[[], None]
) -> Iterator[None]:
    """Everything inside commits as one snapshot, signed with `author` and `message`, or not at all.

    Args:
        confirm: Called just before the commit; what it raises prevents it. A lock gives it (`catalog.lock`).
    """
    con.execute("begin")
    try:
        yield
        con.execute("call lake.set_commit_message(?, ?)", [author, message])
        confirm()
        con.execute("commit")
    except BaseException:
        with suppress(duckdb.Error):  # a commit that failed has rolled back already, and so has a server that is gone
            con.execute("rollback")
        raise


def root(con: duckdb.DuckDBPyConnection) -> str:
    """The S3 address above the lake's own files, without a slash at its end: artifacts and exports stand there."""
    row = con.execute("select data_path from ducklake_settings('lake')").fetchone()
    assert row is not None
    return str(row[0]).rstrip("/").rsplit("/", 1)[0]


def store() -> "fs.FileSystem":
    """Everything below `root` as a pyarrow file system, by the same secret: for what reads parquet without DuckDB.

    Paths in it are such as `exports/orders.parquet`.

    Raises:
        LakeUnavailableError: There is no secret for S3.
    """
    from pyarrow import fs  # 0.2 s that those who only query do not wait for

    found = secrets().get("tract_s3")
    if found is None:
        raise unavailable("its S3 is not known", f"no secret tract_s3 in {home() / 'secrets'}")
    said = dict(part.split("=", 1) for part in found.split(";") if "=" in part)
    store = fs.S3FileSystem(
        access_key=said.get("key_id"),
        secret_key=said.get("secret"),
        endpoint_override=said.get("endpoint") or None,
        region=said.get("region"),
        scheme="https" if said.get("use_ssl", "true") == "true" else "http",
        force_virtual_addressing=said.get("url_style") == "vhost",
    )
    return fs.SubTreeFileSystem(said["scope"].removeprefix("s3://").rstrip("/"), store)
