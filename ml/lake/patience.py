"""What is tried again within a call: a server that is full, or starting, has room a moment later."""

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import duckdb
import psycopg2

T = TypeVar("T")

# Each up to half as long again or as short, so that those who were refused together do not come back together.
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
# Postgres's words, which it says in the language of its own messages: the local one's are English.
NO_ROOM = re.compile(r"too many (clients|connections)|remaining connection slots")
NOT_READY = re.compile(r"is (starting up|shutting down|in recovery mode)")

# Of a request that S3 refuses as busy, or cuts off: 0.1, 0.2 … 3.2 s, 6 s in all; DuckDB's own is three times. For the
# cursors of a connection too.
S3_SQL = "set global http_retries = 6; set global http_retry_wait_ms = 100; set global http_retry_backoff = 2"
# By how much the pause before each next try is longer, of what is tried again for hours.
GROWTH = 4.0


def growing(first: float, failures: int, longest: float) -> float:
    """The pause after so many failures: `first` after one, and no longer than `longest`; in the same unit."""
    return min(first * GROWTH ** min(max(failures - 1, 0), 100), longest)  # which no float overflows


def patiently(call: Callable[[], T], pauses: tuple[float, ...] = PAUSES) -> T:
    """The call's answer; tried again where Postgres has no connection left, or is not ready."""
    for pause in pauses:
        try:
            return call()
        except (duckdb.Error, psycopg2.OperationalError) as error:
            if not (NO_ROOM.search(str(error)) or NOT_READY.search(str(error))):
                raise
            time.sleep(pause * random.uniform(0.5, 1.5))
    return call()
