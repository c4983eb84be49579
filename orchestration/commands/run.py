"""`make run`: build the features as a Dagster job, and watch what the publication of them starts."""

import sys
import time

import duckdb
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ml import lake
from ml.errors import TractError
from ml.records import champions, findings
from orchestration import stack
from orchestration.attempts import TRIES
from orchestration.commands import graphql as webserver
from orchestration.stack import layout

EXPOSURE = "housing_value"
SAYING = (f"consume_{EXPOSURE}", f"{EXPOSURE}__model_card")  # steps whose log is shown
CONSUMER_PATIENCE = 120.0  # seconds for the daemon to start a run, which takes about 5, while none is under way


class RunError(TractError):
    """The pipeline did not come to its end; the message says where it stopped."""


def main() -> int:
    """Run everything; 0 when predictions are there, 1 with one sentence when not."""
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        home = lake.home()
        console.print("[bold]1. The stack[/]")
        stack.up(home)
        address = stack.ui(home)
        for row in stack.status(home):
            console.print(f"   {row.name:<9} {row.state:<9} {row.address}")
        publication = build(console, address)
        outcome = learn(console, address, publication)
        show(console, address, publication, outcome)
    except (RunError, layout.StackError, lake.LakeUnavailableError, webserver.WebserverError) as error:
        Console(stderr=True, highlight=False).print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
    return 0


def build(console: Console, address: str) -> str:
    """Run the producer's job; the publication that it made."""
    console.print("[bold]2. The producer[/]: dbt builds and tests, as the Dagster job build_features")
    run_id = webserver.launch(address, "build_features")
    _watch(console, address, run_id)
    with lake.connect() as con:
        row = con.execute(
            "select publication_id, row_count from lake.ops.publications where built_by = ?",
            [f"dagster run {run_id}"],
        ).fetchone()
    if row is None:
        raise RunError(f"The build published nothing. Its log says why: {address}/runs/{run_id}")
    console.print(f"   published [bold]{row[0]}[/]: {row[1]:,} rows, built and tested")
    return str(row[0])


def learn(console: Console, address: str, publication: str) -> str:
    """Watch the run that the publication starts; the outcome of its consumption."""
    console.print("[bold]3. The consumer[/]: started by the publication")
    deadline = time.monotonic() + CONSUMER_PATIENCE
    tags = {"tract/exposure": EXPOSURE, "tract/publication": publication}
    for number in range(1, TRIES + 1):
        with console.status("waiting for the sensor follow_publications"):
            while not (run_id := webserver.run_with(address, {**tags, "tract/try": str(number)})):
                if outcome := _outcome(publication):  # superseded, without a run of its own
                    return outcome
                before = webserver.run_with(address, {"tract/exposure": EXPOSURE})
                if before and webserver.status(address, before) not in webserver.ENDED:
                    deadline = time.monotonic() + CONSUMER_PATIENCE  # an older publication's run goes first
                elif time.monotonic() > deadline:
                    raise RunError(f"The sensor started no run for {publication}: {address}/automation says why.")
                time.sleep(webserver.POLL_SECONDS)
        # consumed is consumed, also where a later step of the run failed, and said so
        succeeded = _watch(console, address, run_id, fail=number == TRIES)
        if outcome := _outcome(publication):
            return outcome
        if succeeded:
            break
        deadline = time.monotonic() + CONSUMER_PATIENCE
    raise RunError(f"{publication} is not consumed: {address}/runs/{run_id}")


def _outcome(publication: str) -> str | None:
    with lake.connect() as con:
        row = con.execute(
            "select outcome from lake.ops.consumptions where exposure = ? and publication_id = ?",
            [EXPOSURE, publication],
        ).fetchone()
    return str(row[0]) if row else None


def _watch(console: Console, address: str, run_id: str, fail: bool = True) -> bool:
    """Show a run's events until it ends; whether it succeeded."""
    started = time.monotonic()
    errors, passed = [], 0
    bar = Progress(
        TextColumn("  "), SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with bar:
        task = bar.add_task("", total=None)
        planned, left = 0, set[str]()
        for event in webserver.follow(address, run_id):
            if event.kind in ("AssetMaterializationPlannedEvent", "AssetCheckEvaluationPlannedEvent"):
                planned += 1
                bar.update(task, total=planned)
                if event.subject:  # an asset's
                    left.add(event.subject)
            elif event.kind == "MaterializationEvent":
                rows = "" if event.rows is None else f"  {event.rows:,} rows"
                bar.console.print(f"   [green]✓[/] {event.subject}{rows}")
                bar.advance(task)
                left.discard(event.subject)
            elif event.kind == "AssetCheckEvaluationEvent":
                passed += event.passed
                bar.advance(task)
                if not event.passed:
                    bar.console.print(f"   [red]✗[/] {event.subject}: {event.message}", soft_wrap=True)
            elif event.kind == "ExecutionStepFailureEvent":
                errors.append(event.message.strip())
            elif event.kind == "LogMessageEvent" and event.step in SAYING:
                bar.console.print(f"     {event.message}", soft_wrap=True)
        succeeded = webserver.status(address, run_id) == "SUCCESS"
        if succeeded:
            for subject in sorted(left):
                bar.console.print(f"   [dim]– {subject}: nothing to do[/]")
            bar.update(task, completed=planned)
    if succeeded:
        seconds = time.monotonic() - started
        console.print(f"   {passed} checks passed, {seconds:.0f} s: {address}/runs/{run_id}", soft_wrap=True)
        return True
    text = "\n".join(errors) or "it was killed"
    if fail:
        raise RunError(f"{text}\nThe run's log: {address}/runs/{run_id}")
    console.print(f"   [yellow]this try failed[/]: {text}", soft_wrap=True)
    return False


def show(console: Console, address: str, publication: str, outcome: str) -> None:
    """The version, its metrics beside the mean's, five predictions, and where everything is."""
    with lake.connect() as con:
        root = lake.root(con)
        if outcome == "unchanged":
            console.print(f"\nNothing new to learn from: {_reason(con, publication)}.")
        champion = champions.champion(con, EXPOSURE)
        if champion is None:
            raise RunError(f"No version of {EXPOSURE} passed the gate: {_reason(con, publication)}.")
        console.print(
            f"\n[bold]Champion {champion.version_id}[/] ({champion.candidate}), held-out errors in 1990 dollars:"
        )
        console.print(_metrics(con, champion.version_id))
        console.print("[bold]Five predictions[/] of lake.marts.housing_valuations:")
        console.print(_predictions(con))
        model_card = findings.last_card(con, EXPOSURE, champion.version_id)
    console.print(
        f"[bold]Where[/]   tables    lake.features, lake.ml, lake.ops, lake.marts (parquet below {root}/lake/)\n"
        f"        model     {champion.artifact.uri}\n"
        f"        card      {model_card[1] if model_card else 'none yet'} (make card saves it here)\n"
        f"        exports   {root}/exports/housing_valuations.parquet, california_housing.parquet\n"
        f"        UI        {address}\n"
        "[bold]Next[/]    make ui       the asset graph, runs and checks in a browser\n"
        "        make shell    a Python prompt with the lake in it\n"
        "        make down     stop the servers; the data stays in .lake/\n"
        "        source .venv/bin/activate && dbt build    from a shell: the consumer starts just the same",
        soft_wrap=True,
    )


def _reason(con: duckdb.DuckDBPyConnection, publication: str) -> str:
    row = con.execute(
        "select reason from lake.ops.consumptions where exposure = ? and publication_id = ?", [EXPOSURE, publication]
    ).fetchone()
    return str(row[0]) if row else "it is not consumed"


def _metrics(con: duckdb.DuckDBPyConnection, version: str) -> Table:
    table = Table("split", "candidate", box=None, padding=(0, 2), pad_edge=False)
    rows = con.execute(
        """
        select split, candidate, map_from_entries(list((metric, value))) as metrics
        from lake.ml.model_metrics
        where exposure = ? and version_id = ? and slice = 'all'
        group by split, candidate
        order by split desc, metrics['rmse']
        """,
        [EXPOSURE, version],
    ).fetchall()
    names = ("rmse", "mae", "median_absolute_error", "p90_absolute_error", "r2")
    for name in names:
        table.add_column(name.replace("_absolute_error", " error"), justify="right")
    for split, candidate, values in rows:
        told = [f"{values[name]:.3f}" if name == "r2" else f"{values[name]:,.0f}" for name in names]
        table.add_row(split, candidate, *told)
    return table


def _predictions(con: duckdb.DuckDBPyConnection) -> Table:
    table = Table("block_group_id", box=None, padding=(0, 2), pad_edge=False)
    for name in ("census", "predicted", "lower", "upper"):
        table.add_column(name, justify="right")
    rows = con.execute(
        """
        select
            block_group_id, median_house_value, predicted_value, predicted_value_lower, predicted_value_upper
        from lake.marts.housing_valuations
        where version_id is not null
        order by block_group_id
        limit 5
        """
    ).fetchall()
    for key, *dollars in rows:
        table.add_row(key, *(f"{value:,.0f}" for value in dollars))
    return table


if __name__ == "__main__":
    sys.exit(main())
