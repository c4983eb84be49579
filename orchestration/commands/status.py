"""`tract status`: what runs where, what was published and what came of it, who serves, drift, sizes."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml import delivery, environments, lake, metrics
from ml.code import command
from ml.errors import TractError
from ml.lake import locks
from ml.lake.sql import quoted, text
from ml.numbers import figure
from ml.records import migrations, notices, overview
from orchestration import project, stack
from orchestration.stack import graphql
from orchestration.stack.dagster import GLANCE, SENSOR

# States that a person may want to change, and what there is to say of them.
UNWELL = ("stopped", "starting", "broken", "behind")
SENTENCES = {
    "behind": "Dagster has loaded the project as it was before. It loads it anew by itself within a minute, if dbt can "
    f"parse it; {command('ui')} does so now, or says why not.",
    "broken": f"Dagster cannot load the project, or a part of it has died: {command('ui')} starts it anew, or says why "
    "not.",
}
LAST = 5  # publications that are shown
# What never arrived is shown for a week: it is not tried again, and whom it concerns has seen it by then.
UNTOLD_FOR = timedelta(days=7)
# As wide where there is no terminal: a sentence that a script looks for is not cut.
WIDTH = 160


def main() -> None:
    """Show all of it.

    Raises:
        LakeUnavailableError: The lake is not up; what runs was shown.
        LakeVersionError: The lake is of another release.
    """
    # what is printed is text, [brackets] and all; what is styled here is a Text
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)
    dagster = services(console)
    lake.check()
    with lake.connect() as con:
        if not overview.has_tables(con):
            console.print("\nThe lake has no tables yet, or not all of them: `dbt build` makes and publishes them.")
            return
        migrations.require(con)
        environment = project.lake_environment()
        publications(console, con, dagster, environment)
        champions(console, con, environment)
        untold(console, con)
        sizes(console, con)


def services(console: Console) -> bool:
    """Each service, its state and address; whether Dagster is up."""
    found = stack.status(lake.home())
    _titled(
        console,
        "What runs",
        [("service", ""), ("state", ""), ("address", "")],
        [(row.name, Text(row.state, "yellow" if row.state in UNWELL else ""), row.address) for row in found],
    )
    for row in found:
        if row.state in SENTENCES:
            console.print(f"  {SENTENCES[row.state]}", soft_wrap=True)
    return any(row.name == "dagster" and row.state in ("up", "behind") for row in found)


def publications(
    console: Console, con: duckdb.DuckDBPyConnection, dagster: bool, environment: str = environments.PRODUCTION
) -> None:
    """The last publications, newest first, with what came of each in each exposure that has read its table."""
    rows = overview.followed(con, LAST, environment)
    now = datetime.now(UTC)
    waiting = {row.exposure for row in rows if row.exposure and not row.outcome}
    held = {exposure: locks.holder(locks.consuming(exposure)) for exposure in waiting}
    lines: list[Sequence[str | Text]] = []
    for row in rows:
        if row.outcome and row.consumed_at:
            colour = "red" if row.outcome == "failed" else "green"
            what = Text.assemble((row.outcome, colour), f" {_ago(now, row.consumed_at)}")
            if row.pending:
                what.append("; errors by other folds, drift and live errors are pending", "yellow")
        else:
            what = Text.assemble(("waits", "yellow"), _waits(held.get(row.exposure or ""), dagster, now))
        result = Text.assemble(f"{row.exposure}: ", what) if row.exposure else what
        published = f"{_ago(now, row.published_at)} by {row.built_by}"
        lines.append((row.publication_id, f"{row.row_count:,}", published, result))
        if row.reason:
            lines.append(("", "", "", Text(f"  {row.reason}", "dim")))
    columns = [("publication", ""), ("rows", "right"), ("published", ""), ("what came of it", "")]
    _titled(console, "Publications", columns, lines, empty="none yet: `dbt build` publishes when its tests pass")
    if waiting and dagster and (said := _sensor()):
        console.print(f"  The sensor says: {said}", soft_wrap=True)


def _sensor() -> str:
    """What the sensor said when it last looked and started nothing: what is waited for, and why a try failed."""
    try:
        return graphql.sensor(stack.dagster.address(lake.home()), SENSOR, GLANCE).said
    except TractError:  # it is starting, or busy; what it is doing was said above
        return ""


def _waits(held: tuple[str, datetime | None] | None, dagster: bool, now: datetime) -> str:
    """What a publication waits for, given who holds its exposure's lock and since when."""
    if held:
        return f", {held[0]} is at work" + (f", began {_ago(now, held[1])}" if held[1] else "")
    return " for the sensor" if dagster else f" for Dagster: {command('ui')}"


def champions(console: Console, con: duckdb.DuckDBPyConnection, environment: str = environments.PRODUCTION) -> None:
    """The version that serves each exposure of a target, how good it is, and how far the newest rows have moved."""
    now = datetime.now(UTC)
    lines: list[Sequence[str | Text]] = []
    for row in overview.serving(con):
        if environments.split(row.exposure)[0] != environment:
            continue
        measured = (f"{metrics.name(row.metric)} {figure(row.value)} ({row.split})", f"{row.coverage:.1%}")
        since = f"{_ago(now, row.promoted_at)} by {row.promoted_by}"
        lines.append((row.exposure, row.version_id, row.candidate, *measured, since))
        lines.append(("", *[""] * 4, Text(f"  {row.reason}", "dim")))
    columns = [
        ("exposure", ""),
        ("champion", ""),
        ("candidate", ""),
        ("held out", "right"),
        ("coverage", "right"),
        ("since", ""),
    ]
    _titled(console, "Champions", columns, lines, empty="none yet: no version has passed the gate")
    for sentence in [*_drift(con, environment), *_live_errors(con, environment)]:
        console.print(f"  {sentence}", soft_wrap=True)
    if others := [name for name in overview.environments_with_champions(con) if name != environment]:
        console.print(f"  Models serve in other targets too: {', '.join(others)}", soft_wrap=True)


def untold(console: Console, con: duckdb.DuckDBPyConnection) -> None:
    """What people are told and did not reach them yet, or never will; nothing where all arrived."""
    found = notices.unwell(con, datetime.now(UTC) - UNTOLD_FOR)
    if not found:
        return
    colours = {"undeliverable": "red", "unclear": "red"}
    now = datetime.now(UTC)
    console.print(Text("\nNot told", "bold"))
    for one in found:
        sentence = delivery.said(one, one.state, one.reason)
        colour = colours.get(one.state or "", "yellow")
        when = f" Written {_ago(now, one.noticed_at)}."
        console.print(Text.assemble("  ", (f"{sentence}.", colour), (when, "dim")), soft_wrap=True)


def _drift(con: duckdb.DuckDBPyConnection, environment: str) -> list[str]:
    """Of the newest publication that was compared, the column that moved most; a sentence for each exposure."""
    return [
        f"{exposure}: in {most['publication_id']} {most['column_name']} has moved most since "
        f"{most['baseline_publication_id']}: PSI {most['psi']:.3f}, Kolmogorov-Smirnov {most['ks']:.3f}; "
        f"{moved} columns above PSI 0.1"
        for exposure, most, moved in overview.most_moved(con)
        if environments.split(exposure)[0] == environment
    ]


def _live_errors(con: duckdb.DuckDBPyConnection, environment: str) -> list[str]:
    """What the newest true values said of standing predictions; a sentence for each exposure."""
    return [
        f"{exposure}: {error['publication_id']} brought {error['row_count']:,} true values that {error['version_id']} "
        f"had not seen: live {overview.turned_out(error)}, {error['coverage']:.1%} in its "
        f"{'intervals' if error['rmse'] is not None else 'sets'}"
        for exposure, error in overview.live_errors(con)
        if environments.split(exposure)[0] == environment
    ]


def sizes(console: Console, con: duckdb.DuckDBPyConnection) -> None:
    """Rows, files and bytes of each table, as it is now, and the snapshots that are kept."""
    tables = con.execute(
        """
        with tables as (
            select table_id, schema_id, table_name
            from __ducklake_metadata_lake.ducklake_table
            where end_snapshot is null
        ),
        schemas as (
            select schema_id, schema_name from __ducklake_metadata_lake.ducklake_schema where end_snapshot is null
        ),
        files as (
            select table_id, data_file_id, file_size_bytes
            from __ducklake_metadata_lake.ducklake_data_file
            where end_snapshot is null
        )
        select
            schemas.schema_name, tables.table_name, count(files.data_file_id), coalesce(sum(files.file_size_bytes), 0)
        from tables
        inner join schemas on tables.schema_id = schemas.schema_id
        left join files on tables.table_id = files.table_id
        group by all
        order by all
        """
    ).fetchall()
    counts = [
        f"select {text(f'{schema}.{name}')}, count(*) from lake.{quoted(schema)}.{quoted(name)}"
        for schema, name, *_ in tables
    ]
    rows = dict(con.execute(" union all ".join(counts)).fetchall())
    columns = [("table", ""), ("rows", "right"), ("files", "right"), ("size", "right")]
    told = [
        (f"{schema}.{name}", f"{rows[f'{schema}.{name}']:,}", f"{files:,}", _bytes(size))
        for schema, name, files, size in tables
    ]
    _titled(console, "Sizes", columns, told)
    snapshots, oldest, files, size = con.execute(
        """
        select count(*), min(snapshot_time), any_value(files), any_value(size)
        from ducklake_snapshots('lake'), (
            select count(*) as files, coalesce(sum(file_size_bytes), 0) as size
            from __ducklake_metadata_lake.ducklake_data_file
        )
        """
    ).fetchall()[0]
    console.print(
        f"  {snapshots:,} snapshots, the oldest from {_ago(datetime.now(UTC), oldest)}; all of them keep {files:,} "
        f"files, {_bytes(size)}, below {lake.root(con)}/lake/",
        soft_wrap=True,
    )


def _titled(
    console: Console,
    title: str,
    columns: Sequence[tuple[str, Any]],
    rows: Sequence[Sequence[str | Text]],
    empty: str = "",
) -> None:
    console.print(Text(f"\n{title}", "bold"))
    if not rows:
        console.print(f"  {empty}")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify=justify or "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _ago(now: datetime, moment: datetime) -> str:
    """`3 minutes ago`, in the largest unit of which there are two."""
    seconds = max((now - moment).total_seconds(), 0.0)
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"


def _bytes(size: int) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"
