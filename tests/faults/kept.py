"""All that a stack at work keeps or shows, as text: where no secret may stand."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from ml.lake import locks
from orchestration.stack import dagster
from tests.warehouse import Warehouse

# Where secrets stand, in files of mode 0600.
SECRETS = ("secrets", "run")


def kept(warehouse: Warehouse) -> Iterator[tuple[str, str]]:
    """Name and content: the home's files, builders' logs, Dagster's database and ticks, and what processes show."""
    for folder in (warehouse.home, warehouse.landed):
        for file in folder.rglob("*"):
            if file.is_file() and file.relative_to(folder).parts[0] not in (*SECRETS, "extensions"):
                yield str(file), file.read_bytes().decode(errors="replace")
    database: dict[str, Any] = {
        **locks.secret(),
        "dbname": dagster.environment(warehouse.home)["TRACT_DAGSTER_DATABASE"],
    }
    with closing(psycopg2.connect(**database)) as con, con.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'select * from "{table}"')
            yield f"Dagster's {table}", str(cursor.fetchall())
    for process in psutil.process_iter():
        try:
            yield f"process {process.pid}", " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def modes(home: Path, secrets: set[str]) -> dict[str, int]:
    """The mode of each file that holds one of the secrets, and is meant to."""
    return {
        str(file): file.stat().st_mode & 0o777
        for name in SECRETS
        for file in (home / name).rglob("*")
        if file.is_file() and any(secret.encode() in file.read_bytes() for secret in secrets)
    }
