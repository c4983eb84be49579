"""Which tables an invocation publishes, and why it does not publish the others."""

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from ml import publishing
from ml.exposures import Exposure
from ml.publishing import Decision, Invocation, State, decide, sentence
from ml.spec import FeaturesSpec

POINTS = "model.tract.points"
RAW = "model.tract.raw"
MART = "model.tract.mart"
PARENTS = {RAW: [], POINTS: [RAW], MART: [POINTS, "source.tract.ml.predictions"]}


def node(name: str, attached: str | None, depends_on: list[str], severity: str = "error") -> dict[str, Any]:
    return {"name": name, "severity": severity, "attached_node": attached, "depends_on": depends_on}


TESTS = {
    "test.tract.unique": node("unique", POINTS, [POINTS]),
    "test.tract.kept": node("kept", POINTS, [POINTS, RAW]),
    "test.tract.singular": node("singular", None, [POINTS]),
    "test.tract.against_raw": node("against_raw", None, [POINTS, RAW], "ERROR"),
    "test.tract.warns": node("warns", POINTS, [POINTS], "warn"),
    "test.tract.on_raw": node("on_raw", RAW, [RAW]),
    "test.tract.on_mart": node("on_mart", MART, [MART, POINTS]),
    "test.tract.mart_against_points": node("mart_against_points", None, [MART, POINTS]),
    "test.tract.of_nothing": node("of_nothing", None, []),
}
BLOCKING = ["test.tract.against_raw", "test.tract.kept", "test.tract.singular", "test.tract.unique"]

BUILD = Invocation(
    invocation_id="invocation",
    command="build",
    partial="",
    results={RAW: ("success", ""), POINTS: ("success", ""), **dict.fromkeys(TESTS, ("pass", ""))},
    tests=TESTS,
    parents=PARENTS,
)


def with_results(*, without: tuple[str, ...] = (), **results: tuple[str, str]) -> Invocation:
    """The build with other results; a name is that of a test, or of the model."""
    named = {("test.tract." + name if name != "points" else POINTS): result for name, result in results.items()}
    kept = {node: result for node, result in BUILD.results.items() if node.rsplit(".", 1)[1] not in without}
    return replace(BUILD, results={**kept, **named})


def test_the_tests_on_a_table_are_those_that_can_fail_because_of_it() -> None:
    assert publishing.tests_on(POINTS, BUILD) == BLOCKING
    assert publishing.tests_on(MART, BUILD) == ["test.tract.mart_against_points", "test.tract.on_mart"]


@pytest.mark.parametrize(
    "invocation",
    [
        BUILD,
        with_results(singular=("warn", "Got 1 result, configured to fail if >10")),  # error_if not reached
        with_results(warns=("warn", "Got 1 result, configured to warn if != 0")),
        with_results(without=("warns",)),
        with_results(on_mart=("fail", "Got 1 result"), mart_against_points=("error", "no such table")),
        with_results(on_raw=("fail", "Got 1 result")),  # of severity error it would have skipped the model
    ],
    ids=["all pass", "below error_if", "warns", "a test that warns left out", "mart fails", "raw fails"],
)
def test_what_is_built_and_passed_its_tests_is_published(exposure: Exposure, invocation: Invocation) -> None:
    assert decide(invocation, [exposure]) == [Decision("features.points", None)]


@pytest.mark.parametrize(
    ("invocation", "reason"),
    [
        (
            with_results(warns=("fail", "Got 1 result, configured to warn if != 0")),  # with --warn-error
            "its test warns failed: Got 1 result, configured to warn if != 0",
        ),
        (
            with_results(points=("skipped", "")),
            "it was skipped, because something that it is built from failed",
        ),
        (
            with_results(points=("error", "Runtime Error in model points (points.sql)\n  No space left.\n  on device")),
            "its model failed: No space left",
        ),
        (
            replace(BUILD, command="run"),
            "`dbt run` does not build and test the whole table; `dbt build` does",
        ),
        (
            replace(BUILD, command="retry"),
            "`dbt retry` does not build and test the whole table; `dbt build` does",
        ),
        (
            replace(with_results(points=("skipped", "")), command="retry"),
            "it was skipped, because something that it is built from failed",
        ),
        (
            replace(with_results(without=("points",)), command="retry"),
            "`dbt retry` does not build and test the whole table; `dbt build` does",
        ),
        (replace(BUILD, partial="--empty"), "it was built with --empty, which leaves rows out"),
        (replace(BUILD, partial="--sample"), "it was built with --sample, which leaves rows out"),
        (
            with_results(kept=("fail", "Got 3 results, configured to fail if != 0"), unique=("skipped", "")),
            "its test kept failed: Got 3 results, configured to fail if != 0",
        ),
        (
            with_results(singular=("error", "Runtime Error in test singular (singular.sql)\n  Binder Error: no z")),
            "its test singular failed: Binder Error: no z",
        ),
        (
            with_results(without=("unique", "kept")),
            "2 of its 4 tests did not run: kept, unique",
        ),
        (
            with_results(against_raw=("skipped", "")),
            "1 of its 4 tests did not run: against_raw",
        ),
    ],
)
def test_what_is_not_published_says_why(exposure: Exposure, invocation: Invocation, reason: str) -> None:
    decision = Decision("features.points", reason)
    assert decide(invocation, [exposure]) == [decision]
    assert sentence(decision) == f"Not published: features.points, because {reason}."


def test_a_table_that_was_not_to_be_built_is_not_decided_on(exposure: Exposure) -> None:
    assert decide(with_results(without=("points",)), [exposure]) == []
    assert decide(replace(with_results(without=("points",)), command="test"), [exposure]) == []


def test_two_exposures_on_one_table_are_one_publication(exposure: Exposure) -> None:
    other = replace(exposure, name="others")
    (decision,) = decide(BUILD, [exposure, other])
    assert sentence(replace(decision, snapshot=7)) == (
        "Published features.points@7; `tract status` says what comes of it."
    )


UNDECIDED = Decision("features.points", None)


@pytest.mark.parametrize(
    ("state", "snapshot"),
    [
        (State(began=3, signed=5, changed=5, newest=9), 5),
        (State(began=3, signed=5, changed=7, newest=9), 5),  # somebody swapped other rows in afterwards
        (State(began=3, signed=None, changed=2, newest=9), 9),  # an incremental build without new rows
    ],
)
def test_what_was_built_or_tested_as_it_stood_is_published(state: State, snapshot: int) -> None:
    assert publishing.conclude(UNDECIDED, state) == replace(UNDECIDED, snapshot=snapshot)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State(began=3, signed=None, changed=4, newest=9), "its commit is not signed by this build: write "),
        (State(began=None, signed=None, changed=2, newest=9), "its commit is not signed by this build: write "),
        (State(began=3, signed=5, changed=None, newest=9), "it is no table: materialize its model as `table` or "),
    ],
)
def test_rows_that_this_build_did_not_commit_are_not_published(state: State, reason: str) -> None:
    decision = publishing.conclude(UNDECIDED, state)
    assert decision.snapshot is None
    assert (decision.reason or "").startswith(reason)


def counts(exposure: Exposure, change: str) -> tuple[int | None, ...]:
    """Of 100 rows, some of them changed."""
    with duckdb.connect() as con:
        con.execute(
            "create table points as select 'k' || i as id, i * 1e0 as a, i * 2e0 as b, 'c' || (i % 10) as cell, "
            "i * 3e0 as y from range(100) as t(i)"
        )
        con.execute(change)
        found: tuple[int | None, ...] = con.execute(publishing.learnable_sql(exposure, "points")).fetchall()[0]
    return found


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("select 1", ""),
        ("update points set a = 1e149 where a < 10", ""),
        ("update points set y = null, cell = null where a < 90", ""),  # ten groups in ten rows
        (
            "update points set y = null",
            "y, the target, is missing in all of 100 rows: nothing is there to learn from",
        ),
        (
            "update points set y = null where a > 3",
            "it has 4 rows whose target y is known, and 5 folds need at least as many (meta.ml.folds)",
        ),
        (
            "update points set y = null where a >= 50; update points set y = 'infinity' where a < 2",
            "y, the target, is NaN, infinite or beyond 1e+150 in 2 of 100 rows: fill them in, or leave them out",
        ),
        (
            "update points set y = null where a >= 20; update points set cell = 'c2' where a < 20",
            "cell has 1 groups, and 5 folds by group need at least as many (meta.ml.folds)",
        ),
        ("update points set b = null where a < 3", ""),
        ("update points set b = null", ""),
        (
            "update points set a = 'nan', b = 1e300 where a < 2",
            "a is NaN, infinite or beyond 1e+150 in 2; b is NaN, infinite or beyond 1e+150 in 2 of 100 rows: fill them "
            "in, or leave them out",
        ),
        (
            "update points set id = null, cell = null where a < 1",
            "id, the key, is missing in 1; cell, the group, is missing in 1 of 100 rows: fill them in, or leave them "
            "out",
        ),
        (
            "update points set id = 'k' || (a % 97)::int",
            "3 of 100 rows repeat the key id: leave them out, or name a key that is unique",
        ),
        (
            "delete from points where a >= 3",
            "it has 3 rows, and 5 folds need at least as many (meta.ml.folds)",
        ),
        (
            "update points set cell = 'one'",
            "cell has 1 groups, and 5 folds by group need at least as many (meta.ml.folds)",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_said_by_column_and_rows(exposure: Exposure, change: str, sentence: str) -> None:
    assert publishing.unlearnable(exposure, counts(exposure, change)) == sentence


def test_texts_and_gaps_are_published_and_dates_without_end_are_not(exposure: Exposure) -> None:
    columns = {**exposure.columns, "of whom": "VARCHAR", "on": "DATE", "plz": "INTEGER"}
    coded = exposure.spec.model_copy(update={"features": FeaturesSpec(categorical=("plz",))})
    asked = replace(exposure, columns=columns, spec=coded)
    more = """
        alter table points add column "of whom" varchar; alter table points add column "on" date;
        alter table points add column plz double; update points set b = null
    """
    assert publishing.unlearnable(asked, counts(asked, more)) == ""
    wrong = "update points set \"on\" = 'infinity' where a < 3; update points set plz = 'nan' where a < 2"
    assert publishing.unlearnable(asked, counts(asked, f"{more}; {wrong}")) == (
        "on is NaN, infinite or beyond 1e+150 in 3; plz is NaN, infinite or beyond 1e+150 in 2 of 100 rows: fill them "
        "in, or leave them out"
    )


@pytest.mark.parametrize(
    ("target", "distinct"),
    [
        ("a % 3", 3),
        ("3 + a % 7", 7),
        ("a % 20", 20),
        ("a % 21", None),
        ("a % 3 + 0.5", None),
        ("1", None),
        ("a % 3 * 1000", None),
        ("1 + 0 * a", None),
    ],
)
def test_a_target_that_looks_like_classes_is_noted(exposure: Exposure, target: str, distinct: int | None) -> None:
    note = (
        f"y, the target, has only {distinct} distinct values, all of them whole: they are learned as numbers, "
        "and predictions lie between them. If they are classes, say so: meta.ml.task: classification, with candidates "
        "for them, logistic and gradient_boosting, and another table in meta.ml.predictions"
    )
    counted = counts(exposure, f"update points set y = {target}")
    assert publishing.noted(exposure, counted) == (note if distinct else "")


def test_rows_without_an_answer_are_noted(exposure: Exposure) -> None:
    note = "10 of 100 rows have no y, the target: they are predicted, and not learned from"
    assert publishing.noted(exposure, counts(exposure, "update points set y = null where a < 10")) == note
    classes = "update points set y = case when a >= 10 then a % 2 end"
    assert publishing.noted(exposure, counts(exposure, classes)).startswith(
        f"{note}; y, the target, has only 2 distinct"
    )


def test_a_table_that_nobody_can_learn_from_is_not_published_and_one_that_somebody_can_is_with_a_word() -> None:
    at = replace(UNDECIDED, snapshot=7)
    assert publishing.heed(at, {"a": "", "b": ""}) == at
    assert sentence(publishing.heed(at, {"a": "y is missing", "b": ""})) == (
        "Published features.points@7; `tract status` says what comes of it. But a cannot learn from it: y is missing."
    )
    assert sentence(publishing.heed(at, {"a": "y is missing"})) == (
        "Not published: features.points, because a cannot learn from it: y is missing."
    )


def test_a_note_stands_behind_what_is_published_and_not_beside_a_reason_why_it_cannot_be_learned_from() -> None:
    at = replace(UNDECIDED, snapshot=7)
    heeded = publishing.heed(at, {"a": "", "b": "y is missing", "c": ""}, {"a": "y has 3", "b": "y has 3", "c": ""})
    assert sentence(heeded) == (
        "Published features.points@7; `tract status` says what comes of it. But b cannot learn from it: y is missing. "
        "Mind, a: y has 3."
    )
