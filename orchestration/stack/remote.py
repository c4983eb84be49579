"""Servers that are someone else's: an S3 and a Postgres in production, entered by the same three secrets."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from ml.lake.sql import text
from orchestration.stack import layout
from orchestration.stack.secrets import S3, Postgres

# Of libpq.
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# The settings, with what holds where nothing is said; None means that it must be said.
SETTINGS = {
    "TRACT_S3_ENDPOINT": None,
    "TRACT_S3_KEY_ID": None,
    "TRACT_S3_SECRET": None,
    "TRACT_S3_REGION": "us-east-1",
    "TRACT_S3_USE_SSL": "true",
    "TRACT_S3_URL_STYLE": "path",
    "TRACT_S3_ROOT": None,
    "TRACT_POSTGRES_HOST": None,
    "TRACT_POSTGRES_PORT": "5432",
    "TRACT_POSTGRES_USER": None,
    "TRACT_POSTGRES_PASSWORD": None,
    "TRACT_POSTGRES_DATABASE": None,
    "TRACT_POSTGRES_SSLMODE": "prefer",
    "TRACT_POSTGRES_SSLROOTCERT": "",
}


def settings(env: Mapping[str, str]) -> tuple[S3, Postgres]:
    """The servers that the environment names; every missing or unfit setting is named."""
    values = {name: env.get(name) or default for name, default in SETTINGS.items()}
    if missing := [name for name, value in values.items() if value is None]:
        raise layout.StackError(f"Missing settings: {', '.join(missing)}.")
    said = {name: str(value) for name, value in values.items()}
    allowed = {
        "TRACT_S3_USE_SSL": said["TRACT_S3_USE_SSL"].lower() in ("true", "false"),
        "TRACT_S3_URL_STYLE": said["TRACT_S3_URL_STYLE"] in ("path", "vhost"),
        "TRACT_S3_ROOT": said["TRACT_S3_ROOT"].startswith("s3://") and len(said["TRACT_S3_ROOT"]) > len("s3://"),
        "TRACT_S3_ENDPOINT": "://" not in said["TRACT_S3_ENDPOINT"],
        "TRACT_POSTGRES_PORT": said["TRACT_POSTGRES_PORT"].isdecimal(),
        "TRACT_POSTGRES_SSLMODE": said["TRACT_POSTGRES_SSLMODE"] in SSL_MODES,
    }
    if unfit := [f"{name}={said[name]}" for name, fits in allowed.items() if not fits]:
        raise layout.StackError(
            f"Settings that do not fit: {', '.join(unfit)} (USE_SSL is true or false, URL_STYLE path or vhost, "
            "ROOT an s3:// address, ENDPOINT host or host:port without a scheme, PORT a number, SSLMODE one of "
            f"{', '.join(SSL_MODES)})."
        )
    s3 = S3(
        endpoint=said["TRACT_S3_ENDPOINT"],
        key_id=said["TRACT_S3_KEY_ID"],
        secret=said["TRACT_S3_SECRET"],
        region=said["TRACT_S3_REGION"],
        use_ssl=said["TRACT_S3_USE_SSL"].lower() == "true",
        url_style=said["TRACT_S3_URL_STYLE"],
        root=said["TRACT_S3_ROOT"].rstrip("/"),
    )
    postgres = Postgres(
        host=said["TRACT_POSTGRES_HOST"],
        port=int(said["TRACT_POSTGRES_PORT"]),
        user=said["TRACT_POSTGRES_USER"],
        password=said["TRACT_POSTGRES_PASSWORD"],
        database=said["TRACT_POSTGRES_DATABASE"],
        sslmode=said["TRACT_POSTGRES_SSLMODE"],
        sslrootcert=said["TRACT_POSTGRES_SSLROOTCERT"],
    )
    return s3, postgres


def remember(home: Path, s3: S3, postgres: Postgres) -> None:
    """Note that the servers are someone else's, and where they are (no credentials)."""
    place = {"s3": f"{s3.endpoint} {s3.root}", "postgres": f"{postgres.host}:{postgres.port}/{postgres.database}"}
    layout.write(_file(home), place)


def forget(home: Path) -> None:
    """Go back to the local servers."""
    _file(home).unlink(missing_ok=True)


def places(home: Path) -> dict[str, str] | None:
    """The address of each service, or None when the servers are the local ones."""
    return layout.read(_file(home))


def check(directory: Path, extensions: Path) -> None:
    """Open the lake through the secrets in a directory; an error in one sentence if that fails."""
    try:
        with duckdb.connect(
            config={"secret_directory": str(directory), "extension_directory": str(extensions)}
        ) as connection:
            for name in ("httpfs", "ducklake", "postgres_scanner"):
                connection.execute(f"load {name}")
            connection.execute("attach 'ducklake:tract' as lake")
            # Attaching asks Postgres alone.
            [(path,)] = connection.execute("select data_path from ducklake_settings('lake')").fetchall()
            connection.execute(f"select count(*) from glob({text(path + '*')})")
    except duckdb.Error as error:
        reason = " ".join(str(error).split())
        raise layout.StackError(f"The lake cannot be opened: {reason}") from error


def _file(home: Path) -> Path:
    return home / "run" / "remote.json"
