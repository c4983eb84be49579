"""Dagster's webserver and daemon, on the stack's Postgres: `dagster dev`, left running in the background."""

import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestration import project
from orchestration.stack import databases, layout, ports, processes

NAME = "dagster"
FIRST_PORT = 3000  # Dagster's own; the next free one when it is taken
# Its code location imports scikit-learn, dbt and Dagster, and parses the dbt project when a file changed.
PATIENCE = 180.0


def environment(home: Path) -> dict[str, str]:
    """What Dagster's processes need to find their instance: its directory, and its database in Postgres."""
    url = databases.url(
        os.environ.get("TRACT_DAGSTER_DATABASE", "dagster"),
        # A run writes hundreds of events, each waiting for the disk otherwise. After a power cut the last moments
        # of Dagster's log may be missing; what was consumed stands in the lake, whose commits do wait.
        options="-c synchronous_commit=off",
    )
    return {
        **project.environment(),
        "TRACT_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "TRACT_DAGSTER_URL": url,
        # of dagster-dbt: partial parsing starts from there, artifacts go below it
        "DBT_TARGET_PATH": str(home / "dbt"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def start(home: Path) -> str:
    """Start it if it does not run; its address when it answers.

    Raises:
        StackError: It does not come up, or cannot load the project; the message says why.
    """
    if processes.find(home, NAME) is None:
        _launch(home)
    deadline = time.monotonic() + PATIENCE
    while not _answers(home):
        if processes.find(home, NAME) is None:
            raise processes.failure(home, NAME, "did not start")
        if _taken(home):
            stop(home)
            _launch(home)
        if time.monotonic() > deadline:
            raise processes.failure(home, NAME, f"did not answer within {PATIENCE:.0f} s")
        time.sleep(0.3)
    if error := _load_error(home):
        stop(home)  # so that the next start loads what was mended
        raise layout.StackError(f"Dagster cannot load the project: {error.strip()}")
    return address(home)


def _launch(home: Path) -> None:
    directory = home / "dagster"
    directory.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(Path(__file__).parents[1] / "dagster.yaml", directory / "dagster.yaml")
    layout.write(_file(home), {"port": next(p for p in range(FIRST_PORT, FIRST_PORT + 100) if ports.usable(p))})
    dagster = Path(sys.executable).with_name("dagster")
    processes.start(
        home,
        NAME,
        [dagster, "dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(_port(home))],
        env=environment(home),
        cwd=project.ROOT,  # Dagster imports what lies there: estimators of the project's own
    )


def stop(home: Path) -> bool:
    """Stop it with the processes that it started; whether it ran."""
    pid = processes.find(home, NAME)
    stopped = processes.stop(home, NAME)
    if pid is not None:
        # What is left of its group: a code server that waits for the end of a run, and the run, which is tried again.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    return stopped


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
    """Whether the webserver has our code location, or an error in its place."""
    said = _ask(home)
    return said is not None and _ours(home, said) and any(entry["loadStatus"] == "LOADED" for entry in _entries(said))


def _taken(home: Path) -> bool:
    """Whether another home's webserver answers: it took the port while ours was loading."""
    said = _ask(home)
    return said is not None and not _ours(home, said)


def _load_error(home: Path) -> str | None:
    """Why our code location cannot be loaded; None when it is."""
    for entry in _entries(_ask(home) or {}):
        location = entry["locationOrLoadError"] or {}
        if "message" in location:
            chain = location["errorChain"]
            return str(chain[-1]["error"]["message"] if chain else location["message"])
    return None


def _ask(home: Path) -> dict[str, Any] | None:
    """What the webserver at our port says of itself; None while there is none."""
    request = urllib.request.Request(
        f"{address(home)}/graphql",
        data=json.dumps({"query": _STATE}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            said: dict[str, Any] | None = json.load(answer).get("data")
    except (OSError, urllib.error.URLError, ValueError):
        return None
    return said


def _ours(home: Path, said: Mapping[str, Any]) -> bool:
    return f"base_dir: {home / 'dagster'}\n" in said["instance"]["info"]


def _entries(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The code locations, of which there is one."""
    entries: list[dict[str, Any]] = said.get("workspaceOrError", {}).get("locationEntries", [])
    return entries


_STATE = """
{
  instance { info }
  workspaceOrError { ... on Workspace {
    locationEntries {
      loadStatus
      locationOrLoadError { ... on PythonError { message errorChain { error { message } } } }
    }
  } }
}
"""


def _file(home: Path) -> Path:
    return home / "run" / "dagster.json"
