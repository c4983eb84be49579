"""Whose fault an error is: of servers that are away, or of what was asked of them."""

import re

import duckdb
import psycopg2

from ml.lake import LakeUnavailableError
from ml.lake.locks import LockLostError, LockTimeoutError

# What S3 says of an object that is not there, which no waiting brings back. Many a statement has the number alone.
GONE = re.compile(r"HTTP (?:code )?404\b")
# The setting that DuckDB names where the disk that it spills into has no room left.
SPILLED = "max_temp_directory_size"
# What DuckDB says where Postgres ends in the middle of a query.
ENDED = re.compile(r'server closed the connection|terminating connection|no connection to the server|query "ROLLBACK"')


def is_away(error: BaseException) -> bool:
    """Whether S3, Postgres, a lock or the machine failed, so that the same may work later, with nothing mended here.

    Of DuckDB's errors these are connections, files and commits; a table that is not there and values that cannot be
    read are what was asked, and memory that ran out is too, unless it is the disk for what does not fit that is full.
    """
    if isinstance(error, duckdb.Error) and ENDED.search(str(error)):  # of many types, as it comes
        return True
    if isinstance(error, LakeUnavailableError | LockLostError | LockTimeoutError):
        return True
    if isinstance(error, duckdb.OutOfMemoryException):
        return SPILLED in str(error)
    if isinstance(error, duckdb.OperationalError):
        return not GONE.search(str(error))
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError | OSError)
