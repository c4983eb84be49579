"""What `make status` says a publication waits for; the rest of it is tried on lakes that dbt built (tests/dbt)."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from ml import lake
from ml.exposures import Exposure
from ml.lake import locks
from ml.lake.sql import quoted
from ml.records import migrations, notices, publications
from ml.spec import NotifySpec
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


def test_what_did_not_reach_somebody_is_said_with_what_to_do_and_what_did_is_not(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tuple(NotifySpec(on=("refused",), to=to) for to in ("SENT", "NEW", "LATER", "NEVER", "PERHAPS", "LONG_AGO"))
    notices.note(con, replace(exposure, spec=exposure.spec.model_copy(update={"notify": told})), "refused", "p@1", "…")
    by = {notice.recipient: notice for notice in notices.unsettled(con)}
    console = Console(width=200, markup=False, highlight=False)
    for recipient in ("SENT", "LATER", "NEVER", "PERHAPS", "LONG_AGO"):
        notices.state(con, by[recipient], "begun")
    notices.state(con, by["SENT"], "sent")
    notices.state(con, by["LATER"], "postponed", "connection refused")
    notices.state(con, by["NEVER"], "undeliverable", "the webhook answered 404 Not Found")
    notices.state(con, by["PERHAPS"], "unclear", "its sender was cut off")
    notices.state(con, by["LONG_AGO"], "undeliverable", "the webhook answered 404 Not Found")
    long_ago = "update lake.ops.deliveries set stated_at = stated_at - interval 8 days where notice_id = ?"
    con.execute(long_ago, [by["LONG_AGO"].notice_id])
    status.untold(console, con)
    title, *lines = capsys.readouterr().out.strip().splitlines()
    assert title == "Not told"
    assert all(line.endswith(" seconds ago.") for line in lines)
    assert sorted(line.strip().partition(" Written ")[0] for line in lines) == [
        f"{to} is told of points refused (p@1): {what}."
        for to, what in (
            ("LATER", "not yet, connection refused. It is tried again"),
            ("NEVER", "never, the webhook answered 404 Not Found. Mend NEVER; the next notice is sent there"),
            ("NEW", "not yet. Dagster sends it, or `tract notify`"),
            ("PERHAPS", "perhaps, its sender was cut off. It is not sent again, as nobody is told twice"),
        )
    ]


def test_where_all_were_told_nothing_is_said(
    con: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    status.untold(Console(), con)
    assert capsys.readouterr().out == ""


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
