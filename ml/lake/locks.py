"""The lake's Postgres, for what DuckDB cannot do there: advisory locks that die with their owner."""

import getpass
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class)
from psycopg2.extras import wait_select

from ml import lake
from ml.errors import TractError
from ml.lake import environment, patience

NAME_BYTES = 63  # of application_name, where the owner of a lock stands; Postgres cuts it there


class LockTimeoutError(TractError):
    """A lock was not free within the time allowed; the message says who holds it and since when."""


class LockLostError(TractError):
    """The connection that held a lock has ended before what it covers was committed."""


def secret() -> dict[str, str]:
    """The parameters of the DuckDB secret `tract_catalog`, as libpq names them.

    Raises:
        LakeUnavailableError: There is no such secret.
    """
    found = lake.secrets().get("tract_catalog")
    if found is None:
        raise lake.unavailable("its Postgres is not known", f"no secret tract_catalog in {lake.home() / 'secrets'}")
    return parse_secret(found)


def parse_secret(
    text: str, names: str = "dbname|host|hostaddr|password|passfile|port|user|sslmode|sslrootcert|sslcert|sslkey"
) -> dict[str, str]:
    """DuckDB writes a secret as `k=v;k=v` without quoting: a value runs until the next known name.

    Args:
        names: Those of the secret's type, with a bar between them; libpq's unless said.
    """
    return dict(re.findall(rf"(?:^|;)({names})=(.*?)(?=;(?:{names})=|$)", text, re.DOTALL))


def connect(owner: str) -> Connection:
    """A connection to the catalog's Postgres for one lock; `owner` is what others see that wait for it.

    It is asynchronous, because libpq's blocking calls do not obey Ctrl-C while they wait.

    Raises:
        LakeUnavailableError: Postgres does not answer.
    """
    environment.settle()
    parameters: dict[str, Any] = {**secret(), "application_name": owner[:NAME_BYTES]}

    def connected() -> Connection:
        con: Connection = psycopg2.connect(**parameters, async_=True)
        wait_select(con)
        return con

    try:
        return patience.patiently(connected)
    except psycopg2.OperationalError as error:
        raise lake.unavailable("its Postgres does not answer", error) from None


def _ask(con: Connection, query: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    with con.cursor() as cursor:
        cursor.execute(query, parameters)
        try:
            wait_select(con)
        except psycopg2.errors.QueryCanceled:  # wait_select's answer to Ctrl-C
            raise KeyboardInterrupt from None
        return cursor.fetchall() if cursor.description else []


def this_process() -> str:
    """Who we are to someone waiting for us: `TRACT_BUILT_BY` where set, otherwise user, host and process."""
    return os.environ.get("TRACT_BUILT_BY") or f"{_user()}@{socket.gethostname()} pid {os.getpid()}"


def _user() -> str:
    """The user's name; in a container a number may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def lock_number(name: str) -> int:
    """The signed 64-bit number under which Postgres knows the lock `name`."""
    return int.from_bytes(hashlib.sha256(f"tract:{name}".encode()).digest()[:8], signed=True)


def acquire(con: Connection, name: str, timeout: float, say: Callable[[str], None]) -> None:
    """Take the advisory lock `name` for as long as `con` lives; wait for it in turn, saying for whom.

    Args:
        timeout: Seconds to wait at the most; 0 waits for ever.
        say: Called with a sentence when there is someone to wait for.

    Raises:
        LockTimeoutError: It was not free within `timeout` seconds.
    """
    number = lock_number(name)
    if _ask(con, "select pg_try_advisory_lock(%s)", (number,)) == [(False,)]:
        say(f"Waiting for the lock '{name}': {_held_by(con, number)}.")
        _ask(con, "select set_config('lock_timeout', %s, false)", (str(round(timeout * 1000)),))
        try:
            _ask(con, "select pg_advisory_lock(%s)", (number,))
        except psycopg2.errors.LockNotAvailable:
            raise LockTimeoutError(
                f"The lock '{name}' was not free within {timeout:g} s: {_held_by(con, number)}. "
                "Wait for that process, or allow more seconds with TRACT_LOCK_TIMEOUT."
            ) from None
    # Our last query while we hold it: whoever waits reads its time as the time since when (see _holder).
    _ask(con, "select %s", (f"holds {name}",))


def consuming(exposure_name: str) -> str:
    """The name of the lock under which an exposure's publications are consumed."""
    return f"consume {exposure_name}"


def completing(exposure_name: str) -> str:
    """The name of the lock under which is measured what a consumption leaves for after its commit."""
    return f"complete {exposure_name}"


def holder(name: str) -> tuple[str, datetime | None] | None:
    """Who holds the advisory lock `name`, and since when; None while it is free.

    Since when is None where Postgres tells it only those of the holder's role.

    Raises:
        LakeUnavailableError: Postgres does not answer.
    """
    with closing(connect(this_process())) as con:
        return _holder(con, lock_number(name))


def _held_by(con: Connection, number: int) -> str:
    held = _holder(con, number)
    if held is None:
        return "it just changed hands"
    who, since = held
    return f"{who} has had it since {since.astimezone():%H:%M:%S}" if since else f"{who} has it"


def _holder(con: Connection, number: int) -> tuple[str, datetime | None] | None:
    rows = _ask(
        con,
        """
        select activity.application_name, activity.query_start
        from pg_locks as locks
        join pg_stat_activity as activity on activity.pid = locks.pid
        where locks.locktype = 'advisory' and locks.granted
          and (locks.classid::bigint << 32 | locks.objid::bigint) = %s
          and locks.database = (select oid from pg_database where datname = current_database())
        """,
        (number,),
    )
    return (rows[0][0], rows[0][1]) if rows else None


@contextmanager
def lock(
    name: str, timeout: float = 0, say: Callable[[str], None] = lambda sentence: None
) -> Iterator[Callable[[], None]]:
    """Hold the advisory lock `name` in a connection of its own; it dies with this process, however that ends.

    Yields:
        A function to be called just before a commit that the lock must cover: a LockLostError says that Postgres
        ended the connection meanwhile, so that someone else may hold the lock now.
    """
    con = connect(this_process())

    def confirm() -> None:
        try:
            _ask(con, "select %s", (f"holds {name}",))
        except psycopg2.Error as error:
            raise LockLostError(
                f"The lock '{name}' was lost before the commit ({lake.first_line(error)}): nothing was written."
            ) from None

    try:
        acquire(con, name, timeout, say)
        yield confirm
    finally:
        con.close()
