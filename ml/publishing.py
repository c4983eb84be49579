"""The event: which tables a dbt invocation published, decided from its results, and the SQL that records it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.exposures import Exposure
from ml.lake import first_line

PASSED = ("pass", "warn")  # a test of error severity below its `error_if` ends as `warn` and does not block


@dataclass(frozen=True)
class Invocation:
    """What is known of a dbt invocation when it ends.

    Attributes:
        command: As typed: `build`, `run`, `retry`, ...
        partial: The flag that made it build less than all rows (`--empty`, `--sample`), or nothing.
        results: unique_id → (status, message), of every node that was part of it.
        tests: unique_id → the test node of the graph, with name, severity, attached_node and depends_on.
        parents: unique_id of a node → unique_ids of the nodes that it depends on.
    """

    invocation_id: str
    command: str
    partial: str
    results: Mapping[str, tuple[str, str]]
    tests: Mapping[str, Mapping[str, Any]]
    parents: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Decision:
    """Whether a learned-from table is published; if not, `reason` says why not, for a person."""

    relation: str
    reason: str | None


def decide(invocation: Invocation, exposures: Sequence[Exposure]) -> list[Decision]:
    """A decision for each learned-from table that this invocation was to build, or whose tests it tried again."""
    learned_from = {exposure.unique_id: exposure.relation for exposure in exposures}
    return [
        Decision(relation, _refusal(invocation, model))
        for model, relation in sorted(learned_from.items())
        if model in invocation.results
        or (invocation.command == "retry" and any(test in invocation.results for test in tests_on(model, invocation)))
    ]


def _refusal(invocation: Invocation, model: str) -> str | None:
    # a retry of its tests alone does not build the model again
    status, message = invocation.results.get(model, ("success", ""))
    if status == "skipped":
        return "it was skipped, because something that it is built from failed"
    if status != "success":
        return f"its model failed: {_found(message)}"
    if invocation.command != "build":
        return f"`dbt {invocation.command}` does not build and test the whole table; `dbt build` does"
    if invocation.partial:
        return f"it was built with {invocation.partial}, which leaves rows out"
    blocking = tests_on(model, invocation)
    for test in blocking:
        status, message = invocation.results.get(test, ("", ""))
        if status and status not in (*PASSED, "skipped"):
            return f"its test {invocation.tests[test]['name']} failed: {_found(message)}"
    missing = [
        invocation.tests[test]["name"]
        for test in blocking
        if invocation.results.get(test, ("skipped", ""))[0] == "skipped"
    ]
    if missing:
        return f"{len(missing)} of its {len(blocking)} tests did not run: {', '.join(sorted(missing))}"
    return None


def _found(message: str) -> str:
    """The first line of what dbt found, below the line that names the node."""
    return first_line(re.sub(r"^\w+ Error in \w+ .*\n", "", message))


def tests_on(model: str, invocation: Invocation) -> list[str]:
    """The tests on a model that can fail, sorted.

    A generic test is on the model that it is attached to. A singular test is on those tables among the ones
    it reads that no other of them is built from: a test that compares a mart with its features is on the mart.
    """
    found = []
    for unique_id, test in invocation.tests.items():
        if str(test["severity"]).lower() != "error":
            continue
        if test["attached_node"]:
            on = test["attached_node"] == model
        else:
            reads = set(test["depends_on"])
            on = model in reads and not any(model in _ancestors(other, invocation.parents) for other in reads - {model})
        if on:
            found.append(unique_id)
    return sorted(found)


def _ancestors(node: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(parents.get(node, ()))
    while ahead:
        parent = ahead.pop()
        if parent not in seen:
            seen.add(parent)
            ahead.extend(parents.get(parent, ()))
    return seen


def sentence(decision: Decision) -> str:
    """What dbt's last lines say of a decision, with `{snapshot}` where the number goes that `snapshot_sql` finds."""
    if decision.reason is None:
        return f"Published {decision.relation}@{{snapshot}}; `make status` says what comes of it."
    return f"Not published: {decision.relation}, because {decision.reason}."
