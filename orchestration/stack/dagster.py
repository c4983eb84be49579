"""Dagster's webserver and daemon, on the stack's Postgres: `dagster dev`, left running in the background."""

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from sqlalchemy.engine import URL

from ml import catalog
from orchestration.project import ROOT, TARGET
from orchestration.stack import layout, ports, processes

NAME = "dagster"
FIRST_PORT = 3000  # Dagster's own; the next free one when it is taken
# Its code location imports scikit-learn, dbt and Dagster, and parses the dbt project when a file changed.
PATIENCE = 180.0


def environment(home: Path) -> dict[str, str]:
    """What Dagster's processes need to find their instance: its directory, and its database in Postgres."""
    secret = catalog.secret()
    url = URL.create(
        "postgresql+psycopg2",  # SQLAlchemy 2.1 takes psycopg 3 for a bare postgresql://
        username=secret["user"],
        password=secret["password"],
        database=os.environ.get("TRACT_DAGSTER_DATABASE", "dagster"),
        query={
            "host": secret["host"],
            "port": secret.get("port", "5432"),
            # A run writes hundreds of events, each waiting for the disk otherwise. After a power cut the last moments
            # of Dagster's log may be missing; what was consumed stands in the lake, whose commits do wait.
            "options": "-c synchronous_commit=off",
        },
    )
    return {
        **os.environ,
        "TRACT_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "TRACT_DAGSTER_URL": url.render_as_string(hide_password=False),
        "DBT_TARGET_PATH": str(TARGET),  # of dagster-dbt: partial parsing starts from there, artifacts go below it
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def start(home: Path) -> str:
    """Start it if it does not run; its address when it answers."""
    if processes.find(home, NAME) is None:
        directory = home / "dagster"
        directory.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(ROOT / "orchestration" / "dagster.yaml", directory / "dagster.yaml")
        layout.write(_file(home), {"port": next(p for p in range(FIRST_PORT, FIRST_PORT + 100) if ports.usable(p))})
        dagster = Path(sys.executable).with_name("dagster")
        processes.start(
            home,
            NAME,
            [dagster, "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(_port(home))],
            env=environment(home),
            cwd=ROOT,
        )
    deadline = time.monotonic() + PATIENCE
    while not _answers(home):
        if processes.find(home, NAME) is None:
            raise processes.failure(home, NAME, "did not start")
        if time.monotonic() > deadline:
            raise processes.failure(home, NAME, f"did not answer within {PATIENCE:.0f} s")
        time.sleep(0.3)
    return address(home)


def stop(home: Path) -> bool:
    """Stop it with the processes that it started; whether it ran."""
    return processes.stop(home, NAME)


def status(home: Path) -> processes.Status:
    """Whether it runs, and where."""
    pid = processes.find(home, NAME)
    return processes.Status(
        name=NAME,
        state="stopped" if pid is None else "up" if _answers(home) else "starting",
        address=address(home) if _file(home).exists() else "",
        pid=pid,
        data=home / "dagster",
        log=processes.log(home, NAME),
    )


def address(home: Path) -> str:
    """Where the UI is."""
    return f"http://127.0.0.1:{_port(home)}"


def _port(home: Path) -> int:
    state = layout.read(_file(home))
    if state is None:
        raise layout.StackError("Dagster was never started here. Start it with `make ui`.")
    return int(state["port"])


def _answers(home: Path) -> bool:
    """Whether the webserver has loaded our code location."""
    question = json.dumps({"query": "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"}).encode()
    request = urllib.request.Request(
        f"{address(home)}/graphql", data=question, headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    except (OSError, urllib.error.URLError, KeyError, ValueError):
        return False
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


def _file(home: Path) -> Path:
    return home / "run" / "dagster.json"
