"""What waiting may mend is told from what it cannot; tests/faults/test_away.py reads it off servers that are killed."""

import duckdb
import psycopg2
import pytest

from ml import lake
from ml.lake.away import is_away
from ml.lake.locks import LockLostError, LockTimeoutError


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (lake.unavailable("its Postgres does not answer", "Connection refused"), True),
        (LockLostError("Postgres ended the lock."), True),
        (LockTimeoutError("Somebody consumes."), True),
        (duckdb.IOException("IO Error: Could not connect to server error for HTTP GET"), True),
        (duckdb.Error("Failed to query snapshot: server closed the connection unexpectedly"), True),
        (duckdb.InvalidInputException("Error: server closed the connection unexpectedly"), True),
        (duckdb.Error("anything else"), False),
        (duckdb.TransactionException("TransactionContext Error: Failed to commit"), True),
        (psycopg2.OperationalError("server closed the connection unexpectedly"), True),
        (ConnectionResetError("by peer"), True),
        (OSError(28, "No space left on device"), True),
        (duckdb.HTTPException("HTTP Error: HTTP GET error (HTTP 404 Not Found)"), False),
        (duckdb.HTTPException("HTTP Error: Request returned HTTP 404 for HTTP GET to 's3://x'"), False),
        (duckdb.TransactionException("Failed to commit: ... VALUES (404, 8404, 'x'): No space left on device"), True),
        (duckdb.OutOfMemoryException("Out of Memory Error"), False),
        (duckdb.OutOfMemoryException("Out of Memory Error: ... the 'max_temp_directory_size' setting"), True),
        (duckdb.BinderException("Binder Error: column nothing"), False),
        (duckdb.ConversionException("Conversion Error"), False),
        (ValueError("of an estimator"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_of_the_servers_or_of_what_was_asked(error: Exception, away: bool) -> None:
    assert is_away(error) == away
