"""A finding is reported once, and anew when its state is another."""

import dagster as dg

from orchestration.findings import Finding, Report, unreported

KEY = dg.AssetKey(["features", "points"])


def report(passed: bool, state: str) -> Report:
    return Report(KEY, "is_fine", Finding(passed, f"it is {passed}"), state)


def test_each_state_is_reported_once_and_what_is_not_looked_at_stays_told() -> None:
    first, cursor = unreported(None, {"a": report(True, "1"), "b": report(True, "1")})
    second, cursor = unreported(cursor, {"a": report(False, "2"), "b": report(True, "1")})
    third, cursor = unreported(cursor, {"a": report(False, "2")})
    fourth, cursor = unreported(cursor, {"b": report(True, "1")})
    assert [[event.passed for event in events] for events in (first, second, third, fourth)] == [
        [True, True],
        [False],
        [],
        [],
    ]
    (event,) = second
    assert (event.asset_key, event.check_name, event.description) == (KEY, "is_fine", "it is False")
