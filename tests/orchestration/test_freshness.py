"""A publication that is late fails its check, once, and the next one passes it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb

from ml.exposures import Exposure
from ml.spec import NotifySpec, Spec
from orchestration import freshness
from orchestration.findings import Finding

EXPOSURE = Exposure(
    name="points",
    owner="",
    owner_email=None,
    description="",
    unique_id="model.tract.points",
    relation="features.points",
    columns={"id": "VARCHAR", "a": "DOUBLE", "y": "DOUBLE"},
    spec=Spec(key="id", target="y", candidates=("ridge",), fresh_within_hours=2),
)
FEATURES = {"features.points": dg.AssetKey(["features", "points"])}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def publish(con: duckdb.DuckDBPyConnection, number: int, when: datetime) -> None:
    con.execute(
        "insert into lake.ops.publications values (?, 'features.points', ?, 'f', '1', 1, 'i', 'me', null, ?)",
        [f"features.points@{number}", number, when],
    )


def reported(result: dg.SensorResult) -> list[tuple[str, bool]]:
    return [(event.check_name, event.passed) for event in result.asset_events]  # type: ignore[union-attr]


def test_nothing_is_late_before_the_first_publication(con: duckdb.DuckDBPyConnection) -> None:
    result = freshness.tick(con, [EXPOSURE], FEATURES, None, NOON)
    assert reported(result) == []
    assert result.skip_reason.skip_message == "features.points was never published."  # type: ignore[union-attr]


def test_each_change_is_reported_once(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, 1, NOON)
    name = "points_published_in_time"
    cursor: str | None = None
    seen = []
    for hours in (1, 1.5, 2.1, 3, 4):
        result = freshness.tick(con, [EXPOSURE], FEATURES, cursor, NOON + timedelta(hours=hours))
        cursor = result.cursor
        seen.append(reported(result))
    assert seen == [[(name, True)], [], [(name, False)], [], []]
    publish(con, 2, NOON + timedelta(hours=4))
    result = freshness.tick(con, [EXPOSURE], FEATURES, cursor, NOON + timedelta(hours=4.5))
    assert reported(result) == [(name, True)]
    publish(con, 3, NOON + timedelta(hours=5))  # a check of what was there before would not count as passed
    result = freshness.tick(con, [EXPOSURE], FEATURES, result.cursor, NOON + timedelta(hours=5.1))
    assert reported(result) == [(name, True)]


def test_each_deadline_that_is_missed_is_noted_once(con: duckdb.DuckDBPyConnection) -> None:
    told = {"on": ("late",), "to": "OPS"}, {"on": ("late", "failed"), "to": "ann@example.com"}
    asked = replace(
        EXPOSURE, spec=EXPOSURE.spec.model_copy(update={"notify": tuple(map(NotifySpec.model_validate, told))})
    )

    def look(hours: float) -> list[tuple[str, str]]:
        freshness.tick(con, [asked], FEATURES, None, NOON + timedelta(hours=hours))  # as by a cursor that was wiped
        return con.execute("select about, recipient from lake.ops.notices order by noticed_at, recipient").fetchall()

    publish(con, 1, NOON)
    first = [("features.points@1", "OPS"), ("features.points@1", "ann@example.com")]
    assert [look(hours) for hours in (1, 2.1, 3)] == [[], first, first]
    publish(con, 2, NOON + timedelta(hours=4))
    assert look(4.5) == first
    assert look(7) == look(8) == [*first, ("features.points@2", "OPS"), ("features.points@2", "ann@example.com")]
    (text,) = con.execute("select distinct text from lake.ops.notices where about = 'features.points@1'").fetchall()[0]
    assert text == freshness.judge(asked, NOON, NOON + timedelta(hours=2.1)).sentence  # type: ignore[union-attr]
    nobody = con.execute("select count(*) from ducklake_snapshots('lake')").fetchall()
    freshness.tick(con, [EXPOSURE], FEATURES, None, NOON + timedelta(hours=9))
    assert con.execute("select count(*) from ducklake_snapshots('lake')").fetchall() == nobody


def test_in_a_lake_of_an_earlier_release_nothing_is_noted_and_all_is_judged(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("drop table lake.ops.notices")
    con.execute("delete from lake.ops.migrations where migration = (select max(migration) from lake.ops.migrations)")
    publish(con, 1, NOON)
    told = (NotifySpec(on=("late",), to="OPS"),)
    asked = replace(EXPOSURE, spec=EXPOSURE.spec.model_copy(update={"notify": told}))
    result = freshness.tick(con, [asked], FEATURES, None, NOON + timedelta(hours=3))
    assert reported(result) == [("points_published_in_time", False)]


def test_lateness_is_said_with_its_setting() -> None:
    finding = freshness.judge(EXPOSURE, NOON, NOON + timedelta(hours=5))
    assert finding == Finding(
        False,
        "features.points was published at 2026-01-01 12:00 UTC, 5.0 hours ago; points expects a publication every "
        "2 hours (meta.ml.fresh_within_hours). See why no build passed its tests.",
    )


def test_a_later_hour_is_nothing_to_learn_from() -> None:
    other = EXPOSURE.spec.model_copy(update={"fresh_within_hours": 48})
    assert Exposure(**{**vars(EXPOSURE), "spec": other}).digest() == EXPOSURE.digest()
