"""What `make status` says a publication waits for; the rest of it is tried on lakes that dbt built (tests/dbt)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml import lake
from ml.lake import locks
from ml.lake.sql import quoted
from ml.records import migrations, publications
from orchestration.commands import status

NOW = datetime.now(UTC)


def test_a_publication_that_is_being_consumed_waits_for_the_run_that_does_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_BUILT_BY", "dagster run 1234")
    with locks.lock("consume points"):
        told = status._waits(locks.holder("consume points"), True, NOW)
    assert told == ", dagster run 1234 is at work, began 0 seconds ago"


def test_one_that_nobody_consumes_waits_for_the_sensor_or_for_dagster(home: Path) -> None:
    held = locks.holder("consume points")
    assert status._waits(held, True, NOW) == " for the sensor"
    assert status._waits(held, False, NOW) == " for Dagster: `make ui`"


def test_what_users_wrote_is_no_markup(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACT_BUILT_BY", "[red]Ann[/] \\[b]")
    with lake.connect() as con:
        for statement in migrations.statements(set(), 0, []):
            con.execute(statement)
        name = "[bold]t's"
        con.execute("create schema lake.s")
        con.execute(f"create table lake.s.{quoted(name)} as select 1 as n")
        ((snapshot,),) = con.execute("select max(snapshot_id) from lake.snapshots()").fetchall()
        con.execute(publications.insert_sql("i", f"s.{name}", str(snapshot)))
    status.main()
    told = capsys.readouterr().out
    assert f"s.{name}@{snapshot}" in told
    assert "by [red]Ann[/] \\[b]" in told
    assert "waits for Dagster: `make ui`" in told
    assert f"s.{name}  " in told.partition("Sizes")[2]
