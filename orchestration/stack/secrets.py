"""The lake's door: three persistent DuckDB secrets, so that no credential stands anywhere else."""

import hashlib
import os
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import duckdb

from ml.lake.sql import text


@dataclass(frozen=True)
class S3:
    """An S3 store and the place in it, such as `s3://tract`, below which everything is kept."""

    endpoint: str
    key_id: str
    secret: str
    region: str
    use_ssl: bool
    url_style: str
    root: str


@dataclass(frozen=True)
class Postgres:
    """A Postgres database that holds a lake's catalog."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str = "prefer"  # as libpq has it
    sslrootcert: str = ""  # a file; libpq's own where empty


def write(directory: Path, extensions: Path, s3: S3, postgres: Postgres) -> bool:
    """Write the secrets into a directory, for DuckDB's `secret_directory`; False if they stood there already.

    DuckDB replaces a secret by deleting its file and writing it again, and a reader in between sees none. So they
    are written elsewhere and moved over the old ones.
    """
    statements = _statements(s3, postgres)
    written = hashlib.sha256(repr((astuple(s3), astuple(postgres), statements)).encode()).hexdigest()
    mark = directory / ".written"
    if mark.exists() and mark.read_text() == written and all(_file(directory, name).exists() for name in statements):
        return False
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".secrets-", dir=directory.parent) as draft:
        with duckdb.connect(config={"secret_directory": draft, "extension_directory": str(extensions)}) as connection:
            for statement in statements.values():
                connection.execute(statement)
        (Path(draft) / mark.name).touch(mode=0o600)
        (Path(draft) / mark.name).write_text(written)
        mark.unlink(missing_ok=True)  # so that an interruption from here on means: write again
        for name in statements:
            os.replace(_file(Path(draft), name), _file(directory, name))
        os.replace(Path(draft) / mark.name, mark)
    return True


def _statements(s3: S3, postgres: Postgres) -> dict[str, str]:
    authority = f", sslrootcert {text(postgres.sslrootcert)}" if postgres.sslrootcert else ""
    return {
        "tract_s3": f"""
            create or replace persistent secret tract_s3 (
                type s3, key_id {text(s3.key_id)}, secret {text(s3.secret)}, endpoint {text(s3.endpoint)},
                use_ssl {str(s3.use_ssl).lower()}, url_style {text(s3.url_style)}, region {text(s3.region)},
                scope {text(s3.root)}
            )""",
        "tract_catalog": f"""
            create or replace persistent secret tract_catalog (
                type postgres, host {text(postgres.host)}, port {postgres.port}, user {text(postgres.user)},
                password {text(postgres.password)}, database {text(postgres.database)},
                sslmode {text(postgres.sslmode)}{authority}
            )""",
        "tract": f"""
            create or replace persistent secret tract (
                type ducklake, metadata_path '', data_path {text(s3.root.rstrip("/") + "/lake/")},
                metadata_parameters map {{'TYPE': 'postgres', 'SECRET': 'tract_catalog'}}
            )""",
    }


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name}.duckdb_secret"
