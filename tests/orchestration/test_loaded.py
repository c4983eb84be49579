"""Definitions that are older than the project are said, and loaded anew; what cannot be loaded is not asked for."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from ml.manifest import SpecError
from orchestration import loaded, project
from orchestration.findings import Finding
from tests.ml.conftest import POINTS

KEY = dg.AssetKey(["features", "points"])
FEATURES = {POINTS.relation: KEY}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the definitions would have been loaded anew."""
    monkeypatch.setattr(project, "identity", lambda: "now")
    monkeypatch.setattr(project, "exposures", lambda: (POINTS,))
    loaded._wrong.cache_clear()
    return []


def judged(of: str, asked: list[str]) -> Finding:
    def reload() -> str:
        asked.append(of)
        return "it is being loaded anew"

    return loaded.judge(of, reload)


def test_definitions_of_the_project_as_it_is_are_left_alone(asked: list[str]) -> None:
    assert judged("now", asked) == Finding(True, "Dagster has loaded the project as it is")
    assert asked == []


def test_older_ones_are_loaded_anew(asked: list[str]) -> None:
    sentence = "The project has changed since Dagster loaded it: it is being loaded anew"
    assert judged("before", asked) == Finding(False, sentence)
    assert asked == ["before"]


def test_a_project_that_cannot_be_loaded_leaves_what_works(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> None:
        raise SpecError("Exposure points: meta.ml.target is missing.")

    monkeypatch.setattr(project, "exposures", wrong)
    assert judged("before", asked) == Finding(
        False,
        "The project has changed since Dagster loaded it, and cannot be loaded as it is: "
        "Exposure points: meta.ml.target is missing.",
    )
    assert asked == []


def test_where_dagster_was_started_by_other_means_a_person_is_told_what_to_do(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_HOME", str(tmp_path))
    said = loaded.judge("before", loaded.Reloading()).sentence
    assert said.endswith(": reload the code location, on the page Deployment of Dagster's UI")


def test_each_change_is_reported_once_and_anew_of_each_publication(con: duckdb.DuckDBPyConnection) -> None:
    def reported(finding: Finding, cursor: str | None) -> tuple[list[bool], str | None]:
        result = loaded.tick(con, finding, FEATURES, cursor)
        events = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        assert all((event.asset_key, event.check_name) == (KEY, loaded.CHECK) for event in events)
        return [event.passed for event in events], result.cursor

    old = Finding(False, "older")
    first, cursor = reported(loaded.CURRENT, None)
    second, cursor = reported(loaded.CURRENT, cursor)
    third, cursor = reported(old, cursor)
    con.execute(
        "insert into lake.ops.publications values "
        "('features.points@7', 'features.points', 7, 'f', '1', 1, 'i', 'me', null, now())"
    )
    fourth, cursor = reported(old, cursor)
    fifth, cursor = reported(loaded.CURRENT, cursor)
    assert [first, second, third, fourth, fifth] == [[True], [], [False], [False], [True]]
