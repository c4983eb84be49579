"""Dagster's webserver and daemon, on the stack's Postgres: `dagster dev`, left running in the background."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml.code import command
from ml.errors import TractError
from orchestration import project
from orchestration.stack import databases, graphql, layout, ports, processes

NAME = graphql.DAGSTER
FIRST_PORT = 3000  # Dagster's own; the next free one when it is taken
# Seconds without progress: its code location imports scikit-learn, dbt and Dagster, and parses the dbt project when a
# file changed.
PATIENCE = 180.0
# What `dagster dev` says first, to users who would start it themselves: `dg dev` wants a project laid out as Dagster's.
NOTICE = "Function `dev_command` is superseded"
SENSOR, PROJECT = "follow_publications", "tract/project"  # which is tagged with the project's identity
GLANCE = 5.0  # of who only wants to know how it is


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
        # a tick in which dbt parses a project that has changed, on a busy machine
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "600",
    }


def start(home: Path) -> str:
    """Start it if it does not run; its address when it answers.

    One that runs and is not well is started anew: its code server may have died, its project have been mended since.
    One that has loaded the project as it was before loads it anew.

    Raises:
        StackError: It does not come up, or cannot load the project; the message says why.
        ParseError, SpecError: The project has changed, and cannot be loaded as it is; the definitions stay as they are.
    """
    if processes.find(home, NAME) is not None:
        try:
            there = _settled(home)
        except layout.StackError:
            stop(home)
        else:
            if loaded(home) != project.identity():
                project.exposures()  # one that cannot be loaded would put an error in the place of what works
                graphql.reload(there)
            return _settled(home)
    _launch(home)
    return _settled(home)


def reload(home: Path) -> None:
    """Have one that runs load its definitions anew, when it has loaded them once.

    Raises:
        StackError: It does not come up, or cannot load the project.
        WebserverError: It does not answer.
    """
    graphql.reload(_settled(home))


def _settled(home: Path) -> str:
    """Its address, when it has loaded the project."""
    while not processes.wait(home, NAME, lambda: _loaded(home) or _taken(home), PATIENCE, every=0.3) or _taken(home):
        if not _taken(home):
            raise processes.failure(home, NAME, "did not start")
        stop(home)
        _launch(home)
    if error := _error(home):
        stop(home)
        raise layout.StackError(f"Dagster cannot load the project: {error.strip()}")
    return address(home)


def _launch(home: Path) -> None:
    directory = home / "dagster"
    directory.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(Path(__file__).parents[1] / "dagster.yaml", directory / "dagster.yaml")
    layout.write(_file(home), {"port": next(p for p in range(FIRST_PORT, FIRST_PORT + 100) if ports.usable(p))})
    processes.start(
        home,
        NAME,
        [
            *(sys.executable, "-W", f"ignore:{NOTICE}", Path(sys.executable).with_name("dagster")),
            *("dev", "-m", "orchestration.definitions", "-h", "127.0.0.1", "-p", str(_port(home))),
        ],
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
        state="stopped" if pid is None else _state(home),
        address=address(home) if _file(home).exists() else "",
        pid=pid,
        data=home / "dagster",
        log=processes.log(home, NAME),
    )


def loaded(home: Path, patience: float = graphql.PATIENCE) -> str:
    """The identity of the project (`project.identity`) that its definitions were made of.

    Raises:
        StackError: It was never started here.
        WebserverError: It does not answer.
    """
    return graphql.sensor(address(home), SENSOR, patience).tags.get(PROJECT, "")


def _state(home: Path) -> str:
    if not any(entry["loadStatus"] == "LOADED" for entry in _entries(home, GLANCE)):
        return "starting"
    if _error(home, GLANCE):
        return "broken"
    try:
        return "up" if loaded(home, GLANCE) == project.identity() else "behind"
    except TractError:  # a file of settings that is no YAML
        return "behind"


def address(home: Path) -> str:
    """Where the UI is."""
    return f"http://127.0.0.1:{_port(home)}"


def _port(home: Path) -> int:
    state = layout.read(_file(home))
    if state is None:
        raise layout.StackError(f"Dagster was never started here. Start it with {command('ui')}.")
    return int(state["port"])


def _loaded(home: Path) -> bool:
    """Whether the webserver has our code location, or an error in its place."""
    return any(entry["loadStatus"] == "LOADED" for entry in _entries(home, graphql.PATIENCE))


def _taken(home: Path) -> bool:
    """Whether another program listens at our port: it took the port while ours was loading."""
    return not ports.usable(_port(home)) and not processes.listens(home, NAME, _port(home))


def _error(home: Path, patience: float = graphql.PATIENCE) -> str | None:
    """Why our code location is not loaded, or does not answer; None when all is well."""
    if processes.maimed(home, NAME):
        return "one of its processes has ended"
    for entry in _entries(home, patience):
        location = entry["locationOrLoadError"] or {}
        if "message" in location:
            chain = location["errorChain"]
            return str(chain[-1]["error"]["message"] if chain else location["message"])
    try:
        # The webserver remembers definitions for a while whose code server has died: this one is asked.
        plan = graphql.ask(address(home), _PLAN, {"job": _JOB}, patience)["executionPlanOrError"]
    except graphql.WebserverError as error:
        return str(error)
    return None if plan["__typename"] == "ExecutionPlan" else f"its code server answers with {plan['__typename']}"


def _entries(home: Path, patience: float) -> list[dict[str, Any]]:
    """The code locations, of which there is one; none while no webserver of ours answers."""
    if not processes.listens(home, NAME, _port(home)):
        return []
    try:
        said = graphql.ask(address(home), _LOCATIONS, patience=patience)
    except graphql.WebserverError:
        return []
    entries: list[dict[str, Any]] = said["workspaceOrError"].get("locationEntries", [])
    return entries


_LOCATIONS = """
{
  workspaceOrError { ... on Workspace {
    locationEntries {
      loadStatus
      locationOrLoadError { ... on PythonError { message errorChain { error { message } } } }
    }
  } }
}
"""
_JOB = graphql.selector(pipelineName="maintain_lake")
_PLAN = 'query ($job: PipelineSelector!) { executionPlanOrError(pipeline: $job, mode: "default") { __typename } }'


def _file(home: Path) -> Path:
    return home / "run" / "dagster.json"
