"""The running Dagster, asked through its GraphQL: launch a job, find a run, follow its events."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml.errors import TractError

ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LOCATION = "orchestration.definitions"
POLL_SECONDS = 1.0  # each look takes the webserver 0.1 s of a core that the run needs
REPOSITORY = "__repository__"


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


def ask(address: str, query: str, variables: Mapping[str, Any]) -> Any:
    """The `data` of an answer.

    Raises:
        WebserverError: Dagster does not answer, or the query failed.
    """
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{address}/graphql", data=body, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    except (OSError, urllib.error.URLError) as error:
        raise WebserverError(f"Dagster does not answer at {address} ({error}). Start it with `make ui`.") from None
    if answer.get("errors"):
        raise WebserverError(f"Dagster refused: {answer['errors'][0]['message']}")
    return answer["data"]


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
                "selector": {
                    "jobName": job,
                    "repositoryName": REPOSITORY,
                    "repositoryLocationName": LOCATION,
                },
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
