"""The event: which tables a dbt invocation published, decided from its results, and the SQL that records it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ml import answers, classes, environments
from ml.columns import Kind, value_sql
from ml.exposures import Exposure
from ml.lake import first_line
from ml.lake.engine import added
from ml.lake.sql import LARGEST, listed, quoted
from ml.weights import usable_sql

if TYPE_CHECKING:
    from ml.spark.engine import Spark

PASSED = ("pass", "warn")  # a test of error severity below its `error_if` ends as `warn` and does not block


@dataclass(frozen=True)
class Invocation:
    """What is known of a dbt invocation when it ends.

    Attributes:
        command: As typed: `build`, `run`, `retry`, ...
        partial: The flags that may have made it build less than all rows (`--empty`, `--sample`), or nothing.
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
    """Whether a learned-from table is published; if not, `reason` says why not, for a person.

    Attributes:
        snapshot: In which the rows are that were built and tested; None before the lake was asked.
        warnings: A sentence for each exposure that cannot learn from them, though another can.
        notes: A sentence for each exposure that learns from them, and perhaps not what is meant.
    """

    relation: str
    reason: str | None
    snapshot: int | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """What the lake knows of a table when an invocation ends: numbers of snapshots.

    Attributes:
        began: The lake's newest when the invocation began.
        signed: The last that this invocation committed the table in; None where it committed nothing.
        changed: The last in which anybody changed the table; None where it is no table.
        newest: The lake's newest.
    """

    began: int | None
    signed: int | None
    changed: int | None
    newest: int


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
        if _failed(test, invocation):
            return f"its test {invocation.tests[test]['name']} failed: {_found(invocation.results[test][1])}"
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


def _failed(test: str, invocation: Invocation) -> bool:
    return invocation.results.get(test, ("skipped", ""))[0] not in (*PASSED, "skipped")


def tests_on(model: str, invocation: Invocation) -> list[str]:
    """The tests on a model that can fail, or did, sorted: one that only warns fails where warnings are errors.

    A generic test is on the model that it is attached to. A singular test is on those tables among the ones
    it reads that no other of them is built from: a test that compares a mart with its features is on the mart.
    """
    found = []
    for unique_id, test in invocation.tests.items():
        if str(test["severity"]).lower() != "error" and not _failed(unique_id, invocation):
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


def conclude(decision: Decision, state: State) -> Decision:
    """The decision with the snapshot that is published, or with the reason why there is none.

    A build that committed nothing to the table, as an incremental one without new rows, has tested what stood there.
    """
    if state.changed is None:
        return replace(decision, reason="it is no table: materialize its model as `table` or `incremental`")
    if state.signed is not None:
        return replace(decision, snapshot=state.signed)
    if state.began is None or state.changed > state.began:
        return replace(
            decision,
            reason=(
                'its commit is not signed by this build: write `+post-hook: "{{ tract.sign() }}"` below `models:` in '
                "dbt_project.yml, above the names of projects, so that it holds for models of every package"
            ),
        )
    return replace(decision, snapshot=state.newest)


def heed(decision: Decision, unlearnable: Mapping[str, str], notes: Mapping[str, str] = {}) -> Decision:
    """The decision when it is known which exposures cannot learn from the rows, and why: nothing is published for none.

    Args:
        unlearnable: By the name of each exposure on the table; empty texts of those that can.
        notes: What to say of those that can, as `noted`; empty texts where there is nothing.
    """
    sentences = tuple(f"{name} cannot learn from it: {why}" for name, why in unlearnable.items() if why)
    if len(sentences) == len(unlearnable):
        return replace(decision, reason="; ".join(sentences))
    said = tuple(f"{name}: {note}" for name, note in notes.items() if note and not unlearnable[name])
    return replace(decision, warnings=sentences, notes=said)


def unfollowed(exposures: Sequence[Exposure], followed: Mapping[str, str]) -> list[str]:
    """A sentence for each exposure that is not followed as it is here; none where none of its target ever was.

    Args:
        followed: The revision that is followed now, by exposure.
    """
    return [
        f"Dagster does not follow {exposure.name} as it is here yet: `tract status` says why"
        for exposure in exposures
        if any(environments.split(name)[0] == exposure.environment for name in followed)
        and followed.get(exposure.name) != exposure.revision()
    ]


def warn(decision: Decision, sentences: Sequence[str]) -> Decision:
    """The decision, with more to say of it where it is published."""
    return replace(decision, warnings=(*decision.warnings, *sentences)) if decision.reason is None else decision


def sentence(decision: Decision) -> str:
    """What dbt's last lines say of a decision."""
    if decision.reason is not None:
        return f"Not published: {decision.relation}, because {decision.reason}."
    warnings = "".join(f" But {warning}." for warning in decision.warnings)
    notes = "".join(f" Mind, {note}." for note in decision.notes)
    return f"Published {decision.relation}@{decision.snapshot}; `tract status` says what comes of it.{warnings}{notes}"


def not_from(environment: str) -> str:
    """What dbt's last line says where a target's build would have published, and the target does not say so."""
    return (
        f"Nothing is published from the target {environment}: it is not production, and its plugin in profiles.yml has "
        "no `config: {publish: true}`."
    )


def learnable_sql(exposure: Exposure, table: str) -> str:
    """One row: how many rows there are, with an answer, groups (or times) of those and likely classes, of key and group
    how many values are NULL, of the time how many are no moment, of each number and date how many are not usable, and
    how many rows repeat a key.
    A target and a feature may be NULL, and the group and the time of a row without an answer.

    Args:
        table: The published rows as a table expression.
    """
    rows, known, *others = _counts(exposure)
    group = _groups(exposure)
    groups = f"count(distinct {group}) {_of_known(exposure)}" if group else "null"
    if exposure.task == "classification":
        distinct = f"count(distinct {quoted(exposure.spec.target)})"
    else:
        distinct = classes.count_sql(exposure.spec.target)
    key = listed(exposure.spec.key_columns)
    repeated = f"count(*) - count(distinct ({key}))"  # less than that where a key is NULL, which is said before
    return f"select {', '.join([rows, known, groups, distinct, *others, repeated])} from {table}"


def counted_in_parts(exposure: Exposure, engine: Spark) -> list[int | None]:
    """The row of `learnable_sql`, of an engine's parts: counts add up, and distinct values it counts by itself."""
    target, table, known = exposure.spec.target, engine.table, answers.known_sql(exposure.spec.target)
    of_classes = exposure.task == "classification"
    likely = "null" if of_classes else classes.count_sql(target)
    parts = engine.rows(f"select {', '.join([*_counts(exposure), likely])} from {table}")
    ((rows, answered, *others),) = added(part[:-1] for part in parts)
    # a part with answers has a number there if all of its own are whole and small
    if of_classes or (answered and all(part[-1] is not None for part in parts if part[1])):
        distinct = engine.distinct(_values([quoted(target)], table, known))
    else:
        distinct = None
    group = _groups(exposure)
    groups = engine.distinct(_values([group], table, f"{group} is not null and {known}")) if group else None
    key = [quoted(name) for name in exposure.spec.key_columns]
    keys = engine.distinct(_values(key, table, f"{key[0]} is not null" if len(key) == 1 else "true"))
    return [rows, answered, groups, distinct, *others, rows - keys]


def _values(values: Sequence[str], table: str, condition: str) -> str:
    said = ", ".join(f"{value} as value_{place}" for place, value in enumerate(values))
    return f"select distinct {said} from {table} where {condition}"


def _of_known(exposure: Exposure) -> str:
    return f"filter (where {answers.known_sql(exposure.spec.target)})"


def _groups(exposure: Exposure) -> str | None:
    """What the folds are by; NULL is none."""
    spec = exposure.spec
    if spec.split == "time" and spec.time:
        return value_sql(spec.time, "date")
    return quoted(spec.group) if spec.group else None


def _counts(exposure: Exposure) -> list[str]:
    """Of `learnable_sql`, what adds up over parts of the rows: all but distinct values."""
    spec, known = exposure.spec, _of_known(exposure)
    missing = [f"count(*) - count({quoted(name)})" for name in spec.key_columns]
    if spec.group:
        missing.append(f"count(*) {known} - count({quoted(spec.group)}) {known}")
    unusable = [_unusable_sql(name, kind) for name, kind in _numbers(exposure).items()]
    if spec.split == "time" and spec.time:
        time = value_sql(spec.time, "date")
        missing.append(
            f"count(*) {known} - count(*) filter (where {answers.known_sql(spec.target)} and isfinite({time}))"
        )
    if spec.weight:
        usable = f"{answers.known_sql(spec.target)} and {usable_sql(spec.weight)}"
        weightless = f"count(*) {known} - count(*) filter (where {usable})"
    else:
        weightless = "0"
    return ["count(*)", f"count({quoted(spec.target)})", *missing, *unusable, weightless]


def _unusable_sql(name: str, kind: Kind) -> str:
    """How many values are NaN, infinite or too large."""
    value = value_sql(name, kind)
    if kind == "date":
        return f"count(*) filter (where not isfinite({value}))"
    # false for NaN too
    return f"count({value}) - count(*) filter (where abs({value}) < {LARGEST})"


def _numbers(exposure: Exposure) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {name: kind for name, kind in exposure.kinds.items() if kind != "text"}
    return kinds if exposure.task == "classification" else {exposure.spec.target: "number", **kinds}


def unlearnable(exposure: Exposure, counts: Sequence[int | None]) -> str:
    """Why an exposure cannot learn from rows, of the counts of `learnable_sql`; empty where it can."""
    spec, numbers = exposure.spec, _numbers(exposure)
    rows, known, groups, distinct, *others, weightless, repeated = counts
    assert rows is not None
    assert known is not None
    time = spec.time if spec.split == "time" else None
    roles: dict[str | None, str] = {
        time: "the time",
        **dict.fromkeys(spec.key_columns, "the key"),
        spec.group: "the group",
        spec.target: "the target",
    }
    named = {name: f"{name}, {roles[name]}," if name in roles else name for name in exposure.columns}
    needed = [name for name in (*spec.key_columns, spec.group, time) if name]
    missing = [f"{named[name]} is missing in {count:,}" for name, count in zip(needed, others, strict=False) if count]
    unusable = [
        f"{named[name]} is NaN, infinite or beyond {LARGEST:g} in {count:,}"
        for name, count in zip(numbers, others[len(needed) :], strict=True)
        if count
    ]
    if missing or unusable:  # a column of the key may be the group, too
        return f"{'; '.join([*dict.fromkeys(missing), *unusable])} of {rows:,} rows: fill them in, or leave them out"
    if weightless:
        return (
            f"{spec.weight}, the weight, is missing, or no number above zero, in {weightless:,} of {rows:,} rows: fill "
            "it in, or leave them out"
        )
    if repeated:
        key = ", ".join(spec.key_columns)
        return f"{repeated:,} of {rows:,} rows repeat the key {key}: leave them out, or name a key that is unique"
    if rows and not known:
        return f"{named[spec.target]} is missing in all of {rows:,} rows: nothing is there to learn from"
    if exposure.task == "classification" and (why := _unfit_classes(exposure, distinct or 0, known)):
        return why
    if known < spec.judged_folds:
        which = f" whose target {spec.target} is known" if known < rows else ""
        setting = f"meta.ml.{spec.folds_setting}"
        return f"it has {known} rows{which}, and {spec.judged_folds} folds need at least as many ({setting})"
    if time:
        if groups is not None and groups <= spec.backtest.folds:
            return (
                f"{time} has {groups} distinct times, and {spec.backtest.folds} folds by time need "
                f"{spec.backtest.folds + 1} (meta.ml.backtest.folds)"
            )
        return ""
    if groups is not None and groups < spec.folds:
        return (
            f"{spec.group} has {groups} groups, and {spec.folds} folds by group need at least as many (meta.ml.folds)"
        )
    return ""


def _unfit_classes(exposure: Exposure, distinct: int, known: int) -> str:
    spec = exposure.spec
    return classes.unfit(spec.target, distinct, known) or classes.unfit_number(spec.positive, distinct)


def noted(exposure: Exposure, counts: Sequence[int | None]) -> str:
    """What an exposure that can learn from rows should know, of the counts of `learnable_sql`; empty if nothing."""
    rows, known, _, distinct, *_ = counts
    assert rows is not None
    assert known is not None
    target = exposure.spec.target
    likely = classes.told(target, distinct, known) if exposure.task == "regression" else ""
    return "; ".join(filter(None, [answers.told(target, rows - known, rows), likely]))
