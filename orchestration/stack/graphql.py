"""The running Dagster, asked through its GraphQL: launch a job, find a run, follow its events."""

import http.client
import json
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ml import lake
from ml.code import command
from ml.errors import TractError

ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LOCATION = "orchestration.definitions"
POLL_SECONDS = 1.0  # each look takes the webserver 0.1 s of a core that the run needs
REPOSITORY = "__repository__"
DAGSTER = "dagster"  # the process, in `stack.processes`
PATIENCE = 180.0  # seconds without progress


class WebserverError(TractError):
    """Dagster does not answer, or refuses; the message says what."""


@dataclass(frozen=True)
class Event:
    """One line of a run's log: Dagster's event type, the step, the message, and the asset or check that it is about."""

    kind: str
    step: str
    message: str
    subject: str
    passed: bool
    rows: int | None


@dataclass(frozen=True)
class Sensor:
    """A sensor of Dagster's.

    Attributes:
        running: Whether it is turned on.
        tags: What its definition is tagged with.
        looked_at: When its newest look ended, in seconds since the epoch; None before its first.
        said: Why that look started nothing, or its error.
    """

    running: bool
    tags: Mapping[str, str]
    looked_at: float | None
    said: str


def ask(address: str, query: str, variables: Mapping[str, Any] | None = None, patience: float = PATIENCE) -> Any:
    """The `data` of an answer, which is waited for as long as this home's Dagster is at work; nothing is asked twice.

    Args:
        patience: Seconds in which Dagster may do nothing before it is given up.

    Raises:
        WebserverError: Dagster does not answer, or the query failed.
    """
    from orchestration.stack import processes  # the stack itself asks Dagster through this module

    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    # not urllib, which would ask a proxy that the environment names for an address of this machine
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=patience)) as connection:
        try:
            connection.request("POST", "/graphql", body, {"content-type": "application/json"})
            watch = processes.Watch(lake.home(), DAGSTER, patience)
            while not select.select([connection.sock], [], [], POLL_SECONDS)[0]:
                if why := watch.stuck():
                    raise WebserverError(f"Dagster does not answer at {address}: it {why}. See `tract status`.")
            response = connection.getresponse()
            if response.status >= http.client.INTERNAL_SERVER_ERROR:
                raise WebserverError(f"Dagster at {address} fails: {response.status} {response.reason}.")
            answer = json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WebserverError(
                f"Dagster does not answer at {address} ({error}). Start it with {command('ui')}."
            ) from None
    if answer.get("errors"):
        raise WebserverError(f"Dagster refused: {answer['errors'][0]['message']}")
    return answer["data"]


def selector(**what: str) -> dict[str, str]:
    """What Dagster calls something of ours, as `jobName="maintain_lake"`."""
    return {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION, **what}


def launch(address: str, job: str) -> str:
    """Start a job; the run's id."""
    data = ask(
        address,
        """
        mutation ($parameters: ExecutionParams!) {
          launchRun(executionParams: $parameters) {
            ... on LaunchRunSuccess { run { runId } }
            ... on Error { message }
          }
        }
        """,
        {
            "parameters": {
                "selector": selector(jobName=job),
                "runConfigData": {},
            }
        },
    )["launchRun"]
    if "run" not in data:
        raise WebserverError(f"Dagster does not start the job {job}: {data.get('message', data)}")
    return str(data["run"]["runId"])


def run_with(address: str, tags: Mapping[str, str]) -> str | None:
    """The id of the newest run that carries these tags."""
    data = ask(
        address,
        """
        query ($filter: RunsFilter!) {
          runsOrError(filter: $filter, limit: 1) { ... on Runs { results { runId } } ... on Error { message } }
        }
        """,
        {"filter": {"tags": [{"key": key, "value": value} for key, value in tags.items()]}},
    )["runsOrError"]
    results = data.get("results", [])
    return str(results[0]["runId"]) if results else None


def sensor(address: str, name: str, patience: float = PATIENCE) -> Sensor:
    """A sensor, and what came of its newest look that has ended.

    Raises:
        WebserverError: Dagster does not answer, or has no such sensor.
    """
    data = ask(address, _SENSOR, {"sensor": selector(sensorName=name)}, patience)["sensorOrError"]
    if "sensorState" not in data:
        raise WebserverError(f"Dagster has no sensor {name}: {data.get('message', data)}")
    state, tags = data["sensorState"], {tag["key"]: tag["value"] for tag in data["tags"]}
    ended = [tick for tick in state["ticks"] if tick["endTimestamp"]]
    if not ended:
        return Sensor(state["status"] == "RUNNING", tags, None, "it has not looked yet")
    newest = ended[0]
    said = newest["error"]["message"] if newest["error"] else newest["skipReason"] or ""
    return Sensor(state["status"] == "RUNNING", tags, newest["endTimestamp"], " ".join(said.split()))


def reload(address: str) -> None:
    """Load the definitions anew; runs that are under way go on.

    Raises:
        WebserverError: Dagster does not answer, or cannot load them.
    """
    location = ask(address, _RELOAD, {"location": LOCATION})["reloadRepositoryLocation"]
    wrong = location.get("message") or (location.get("locationOrLoadError") or {}).get("message")
    if wrong:
        raise WebserverError(f"Dagster cannot load the project: {wrong}")


def follow(address: str, run_id: str) -> Iterator[Event]:
    """A run's events as they come, until it has ended."""
    cursor: str | None = None
    while True:
        ended = status(address, run_id) in ENDED  # asked before the events, so that none is missed
        more = True
        while more:
            data = ask(address, _EVENTS, {"run": run_id, "cursor": cursor})["logsForRun"]
            cursor, more = data["cursor"], data["hasMore"]
            for event in data["events"]:
                yield _event(event)
        if ended:
            return
        time.sleep(POLL_SECONDS)


def status(address: str, run_id: str) -> str:
    """Dagster's status of a run, such as STARTED or SUCCESS."""
    data = ask(address, "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", {"run": run_id})
    return str(data["runOrError"].get("status", "NOT_FOUND"))


_SENSOR = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    ... on Sensor {
      tags { key value }
      sensorState { status ticks(limit: 2) { endTimestamp skipReason error { message } } }
    }
    ... on Error { message }
  }
}
"""
_RELOAD = """
mutation ($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    ... on WorkspaceLocationEntry { locationOrLoadError { ... on PythonError { message } } }
    ... on Error { message }
  }
}
"""
_EVENTS = """
query ($run: ID!, $cursor: String) {
  logsForRun(runId: $run, afterCursor: $cursor) {
    ... on EventConnection {
      cursor hasMore
      events {
        __typename
        ... on MessageEvent { message stepKey }
        ... on AssetMaterializationPlannedEvent { assetKey { path } }
        ... on MaterializationEvent {
          assetKey { path }
          metadataEntries { label ... on IntMetadataEntry { intValue } }
        }
        ... on AssetCheckEvaluationEvent { evaluation { checkName assetKey { path } success description } }
        ... on ExecutionStepFailureEvent { error { message causes { message } errorChain { error { message } } } }
      }
    }
    ... on Error { message }
  }
}
"""


def _event(said: Mapping[str, Any]) -> Event:
    kind, message, subject, passed, rows = said["__typename"], said["message"], "", True, None
    if "assetKey" in said:
        subject = "/".join(said["assetKey"]["path"])
    if kind == "MaterializationEvent":
        counts = [e["intValue"] for e in said["metadataEntries"] if e["label"] == "dagster/row_count"]
        rows = counts[0] if counts else None
    elif kind == "AssetCheckEvaluationEvent":
        subject = said["evaluation"]["checkName"]
        passed = said["evaluation"]["success"]
        message = said["evaluation"]["description"] or message
    elif kind == "ExecutionStepFailureEvent" and said["error"]:
        chain = said["error"]["errorChain"]
        message = chain[-1]["error"]["message"] if chain else said["error"]["message"]
    return Event(kind, said.get("stepKey") or "", message, subject, passed, rows)
