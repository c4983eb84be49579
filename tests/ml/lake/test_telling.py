# ruff: noqa: E501 (sentences as they are)
"""An error of a server is one sentence with object, operation and setting, whatever else stands in its text."""

import duckdb
import psycopg2
import pytest

from ml import lake
from ml.lake import telling

INSERT = "TransactionContext Error: Failed to commit: Failed to commit DuckLake transaction.\nFailed to flush changes: "
QUERY = f"{INSERT}Failed to execute query \"INSERT INTO x VALUES ('s3://tract/a', 'Connection refused')\": ERROR:  "


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            duckdb.HTTPException(
                "HTTP Error: Unable to connect to URL s3://tract/a/b.parquet: Forbidden (HTTP code 403)\n\nExpiredToken: gone."
            ),
            "Reaching s3://tract/a/b.parquet failed: S3 refuses it (ExpiredToken). The credentials have expired, or have no "
            "right to it: give others by TRACT_S3_KEY_ID, TRACT_S3_SECRET and `tract connect`.",
        ),
        (
            duckdb.HTTPException("HTTP Error: Request returned HTTP 500 for HTTP PUT to 'http://127.0.0.1:1/tract/a'"),
            "Writing http://127.0.0.1:1/tract/a failed, tried again and again: HTTP Error: Request returned HTTP 500 for HTTP "
            "PUT to 'http://127.0.0.1:1/tract/a'. See that S3 is up (TRACT_S3_ENDPOINT).",
        ),
        (
            duckdb.IOException(
                "IO Error: Unable to connect to URL s3://t/a: Insufficient Storage (HTTP code 507)\n\nX: y"
            ),
            "Reaching s3://t/a failed: S3 has no room for it. Free some, or name another store by TRACT_S3_ENDPOINT.",
        ),
        (
            duckdb.TransactionException(f"{QUERY}cannot execute INSERT in a read-only transaction\n"),
            "Nothing was committed: the catalog's Postgres takes no writes (cannot execute INSERT in a read-only transaction). "
            "TRACT_POSTGRES_HOST must name a primary, with room on its disk.",
        ),
        (
            duckdb.TransactionException(
                f'{QUERY}new row violates row-level security policy for table "ducklake_table"\n'
            ),
            "Nothing was committed: the catalog's Postgres refuses this role (new row violates row-level security policy for table "
            '"ducklake_table"). What was to be written is another role\'s: SECURITY.md says whose (TRACT_POSTGRES_USER).',
        ),
        (
            psycopg2.OperationalError("server closed the connection unexpectedly\n\tThis probably means"),
            "Nothing was committed: the catalog's Postgres ended, or does not answer (server closed the connection unexpectedly). "
            "See that it is up (TRACT_POSTGRES_HOST, TRACT_POSTGRES_PORT).",
        ),
        (
            duckdb.TransactionException(f'{QUERY}could not extend file "base/1": No space left on device'),
            "Nothing was committed: the catalog's Postgres has no room (No space left on device). Free some on its disk "
            "(TRACT_POSTGRES_HOST).",
        ),
        (
            duckdb.TransactionException(f"{QUERY}something new"),
            "Nothing was committed: the catalog's Postgres failed (ERROR:  something new).",
        ),
        (
            duckdb.IOException("IO Error: Could not write file '/x/spilled': No space left on device"),
            "The disk is full: IO Error: Could not write file '/x/spilled': No space left on device. DuckDB spills into "
            f"{lake.home() / 'tmp'} (TRACT_HOME).",
        ),
        (ConnectionResetError("by peer"), "S3, Postgres or the disk failed: by peer."),
        (
            lake.unavailable("its S3 does not answer", "x"),
            "The lake is not up: its S3 does not answer (x). Start it with `make up`.",
        ),
        (
            lake.unavailable("its Postgres does not answer", "FATAL:  sorry, too many clients already"),
            "The lake has no room: its Postgres does not answer (FATAL:  sorry, too many clients already). Raise max_connections "
            "of its Postgres, or the limit of the role (TRACT_POSTGRES_USER).",
        ),
    ],
    ids=str,
)
def test_it_says_object_operation_and_setting(error: Exception, told: str) -> None:
    assert telling.sentence(error) == told
    assert "\n" not in told
