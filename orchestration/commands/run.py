"""`tract run`: build the features as a Dagster job, and watch what the publication of them starts."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import duckdb
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ml import lake, metrics
from ml.classes import text_of
from ml.errors import TractError
from ml.exposures import Exposure
from ml.numbers import figure
from ml.records import champions, consumptions, findings, predictions, publications, versions
from ml.records.versions import Version
from orchestration import profile, project, stack
from orchestration.attempts import EXPOSURE, LEDGER, PUBLICATION, TRIES, TRY
from orchestration.stack import graphql as webserver
from orchestration.stack import processes
from orchestration.stack.dagster import SENSOR

# Seconds, and looks of the sensor, in which a run must be started, which takes about 5, while none is under way; the
# longest pause between two tries is a minute.
CONSUMER_PATIENCE, LOOKS = 120.0, 3
# The metrics that are shown, by task, and those of three digits.
NUMBERS = ("rmse", "mae", "median_absolute_error", "p90_absolute_error", "r2")
CLASSES = ("log_loss", "brier_score", "roc_auc", "average_precision", "accuracy")
SHARES = ("r2", "roc_auc", "average_precision", "accuracy")


class RunError(TractError):
    """The pipeline did not come to its end; the message says where it stopped."""


def main() -> None:
    """Run everything, and show what came of it, of each exposure.

    Raises:
        RunError: It did not come to its end; of several exposures, once all are shown.
        TractError: As those whom it calls.
    """
    # what is printed is text, [brackets] and all; what is styled here is a Text
    console = Console(highlight=False, markup=False, emoji=False)
    started = time.monotonic()
    home = lake.home()
    console.print(Text("1. The stack", "bold"))
    for sentence in profile.find(project.ROOT).ignored:
        console.print(Text(f"   {sentence}", "yellow"), soft_wrap=True)
    stack.up(home)
    address = stack.ui(home)
    for row in stack.status(home):
        console.print(f"   {row.name:<9} {row.state:<9} {row.address}")
    exposures = project.exposures()
    published = build(console, address)
    asked = [exposure for exposure in exposures if exposure.relation in published]
    if not asked:
        raise RunError(f"No exposure of {project.ROOT} learns from {', '.join(published)}.")
    later: list[str] = []
    failed = each(
        console,
        asked,
        lambda exposure: learn(console, address, exposure, published[exposure.relation], later.append),
        lambda exposure, outcome: show(console, exposure, published[exposure.relation], outcome),
    )
    where(console, address)
    if failed:
        raise RunError(f"{len(failed)} of {len(asked)} exposures did not come to their end: {'; '.join(failed)}")
    if later:
        raise RunError(f"What was learned is committed, and what came after it failed: {'; '.join(later)}")
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")


def each(
    console: Console,
    exposures: Sequence[Exposure],
    learn: Callable[[Exposure], str],
    show: Callable[[Exposure, str], None],
) -> list[str]:
    """Learn each exposure, then show each that was learned; of those that failed, the name and why.

    Args:
        learn: Gives the outcome, or raises a `RunError`.
        show: Given the outcome, likewise.
    """
    failed: list[str] = []
    outcomes: dict[str, str] = {}

    def fails(exposure: Exposure, error: RunError) -> None:
        failed.append(f"{exposure.name}: {error}")
        console.print(Text.assemble((f"   {exposure.name} failed", "red"), f": {error}"), soft_wrap=True)

    for exposure in exposures:
        try:
            outcomes[exposure.name] = learn(exposure)
        except RunError as error:
            fails(exposure, error)
    for exposure in exposures:
        if exposure.name in outcomes:
            try:
                show(exposure, outcomes[exposure.name])
            except RunError as error:
                fails(exposure, error)
    return failed


def build(console: Console, address: str) -> dict[str, str]:
    """Run the producer's job; the publications that it made, by the table that each is of."""
    console.print(Text("2. The producer", "bold"), ": dbt builds and tests, as the Dagster job build_features", sep="")
    run_id = webserver.launch(address, "build_features")
    _watch(console, address, run_id)
    with lake.connect() as con:
        made = publications.built_by(con, f"dagster run {run_id}")
    if not made:
        raise RunError(f"The build published nothing. Its log says why: {address}/runs/{run_id}")
    for publication in made:
        name, rows = Text(publication.publication_id, "bold"), f": {publication.row_count:,} rows, built and tested"
        console.print("   published ", name, rows, sep="")
    return {publication.relation: publication.publication_id for publication in made}


def learn(
    console: Console, address: str, exposure: Exposure, publication: str, fails: Callable[[str], None] = lambda _: None
) -> str:
    """Watch the run that the publication starts for an exposure; the outcome of its consumption.

    Args:
        fails: Is told where a step after the consumption failed, which is committed all the same.
    """
    console.print(Text("3. The consumer", "bold"), f" {exposure.name}: started by the publication", sep="")
    with lake.connect() as con:
        ledger = publications.ledger(con)
    tags = {EXPOSURE: exposure.name, PUBLICATION: publication, LEDGER: ledger}
    for number in range(1, TRIES + 1):
        with console.status(f"waiting for the sensor {SENSOR}"):
            patience = _Patience(address, publication)
            while not (run_id := webserver.run_with(address, {**tags, TRY: str(number)})):
                if outcome := _outcome(exposure, publication):  # superseded, without a run of its own
                    return outcome
                before = webserver.run_with(address, {EXPOSURE: exposure.name, LEDGER: ledger})
                if before and webserver.status(address, before) not in webserver.ENDED:
                    patience = _Patience(address, publication)  # an older publication's run goes first
                patience.check()
                time.sleep(webserver.POLL_SECONDS)
        # consumed is consumed, also where a later step of the run failed, and said so
        succeeded = _watch(console, address, run_id, saying=_saying(exposure), fail=number == TRIES)
        if outcome := _outcome(exposure, publication):
            if not succeeded:
                fails(f"{exposure.name}, {address}/runs/{run_id}")
            return outcome
        if succeeded:
            break
    raise RunError(f"{publication} is not consumed: {address}/runs/{run_id}")


class _Patience:
    """How long the sensor may start no run: for some time, and for some looks, which a busy machine makes rare."""

    def __init__(self, address: str, publication: str) -> None:
        self.address, self.publication = address, publication
        self.begun = time.monotonic()
        self.looks: set[float] = set()
        self.watch = processes.Watch(lake.home(), webserver.DAGSTER, CONSUMER_PATIENCE)

    def check(self) -> None:
        """Look how the sensor is.

        Raises:
            RunError: It is turned off, had its chances, or Dagster does not get on.
        """
        sensor = webserver.sensor(self.address, SENSOR)
        where = f"{self.address}/automation"
        if not sensor.running:
            raise RunError(f"The sensor {SENSOR} is turned off, and nothing is learned until you turn it on: {where}")
        if sensor.looked_at is not None:
            self.looks.add(sensor.looked_at)
        # the first may have begun before
        if time.monotonic() - self.begun > CONSUMER_PATIENCE and len(self.looks) > LOOKS:
            raise RunError(f"The sensor {SENSOR} started no run for {self.publication}: {sensor.said} ({where})")
        if why := self.watch.stuck():
            raise RunError(f"Dagster {why}, and started no run for {self.publication}; `tract status` has its log.")


def _outcome(exposure: Exposure, publication: str) -> str | None:
    with lake.connect() as con:
        consumption = consumptions.of(con, exposure.name, publication)
    return str(consumption["outcome"]) if consumption else None


def _saying(exposure: Exposure) -> Sequence[str]:
    """The steps whose log is shown."""
    return (
        f"consume_{exposure.identifier}",
        f"{exposure.identifier}__monitoring",
        f"{exposure.identifier}__model_card",
    )


def _watch(console: Console, address: str, run_id: str, *, saying: Sequence[str] = (), fail: bool = True) -> bool:
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
                bar.console.print(Text("   ✓", "green"), f"{event.subject}{rows}")
                bar.advance(task)
                left.discard(event.subject)
            elif event.kind == "AssetCheckEvaluationEvent":
                passed += event.passed
                bar.advance(task)
                if not event.passed:
                    bar.console.print(Text("   ✗", "red"), f"{event.subject}: {event.message}", soft_wrap=True)
            elif event.kind == "ExecutionStepFailureEvent":
                errors.append(event.message.strip())
            elif event.kind == "LogMessageEvent" and event.step in saying:
                bar.console.print(f"     {event.message}", soft_wrap=True)
        succeeded = webserver.status(address, run_id) == "SUCCESS"
        if succeeded:
            for subject in sorted(left):
                bar.console.print(Text(f"   – {subject}: nothing to do", "dim"))
            bar.update(task, completed=planned)
    if succeeded:
        seconds = time.monotonic() - started
        console.print(f"   {passed} checks passed, {seconds:.0f} s: {address}/runs/{run_id}", soft_wrap=True)
        return True
    text = "\n".join(errors) or "it was killed"
    if fail:
        raise RunError(f"{text}\nThe run's log: {address}/runs/{run_id}")
    console.print(Text("   this try failed", "yellow"), f": {text}", sep="", soft_wrap=True)
    return False


def show(console: Console, exposure: Exposure, publication: str, outcome: str) -> None:
    """An exposure's champion, its metrics beside the mean's, five predictions, and where it is."""
    with lake.connect() as con:
        if outcome == "unchanged":
            console.print(f"\n{exposure.name}: nothing new to learn from: {_reason(con, exposure, publication)}.")
        champion = champions.champion(con, exposure.name)
        if champion is None:
            raise RunError(f"No version of {exposure.name} passed the gate: {_reason(con, exposure, publication)}.")
        unit = f" in {exposure.spec.unit}" if exposure.spec.unit else ""
        console.print(
            Text(f"\n{exposure.name}: champion {champion.version_id}", "bold"),
            f"({champion.candidate}), {'held-out errors' if exposure.task == 'regression' else 'held out'}{unit}:",
            soft_wrap=True,
        )
        console.print(_metrics(con, exposure, champion))
        console.print(
            Text("Five predictions", "bold"),
            f"of lake.ml.{exposure.spec.predictions_table}, beside {exposure.relation}:",
            soft_wrap=True,
        )
        console.print(_predictions(con, exposure))
        console.print(
            "   The model has learned from most of these rows too: of new ones the errors above tell; "
            f"lake.ml.{exposure.heldout} has predictions by fits that had not seen their row."
        )
        model_card = findings.last_card(con, exposure.name, champion.version_id)
    console.print(
        f"        model     {champion.artifact.uri}\n"
        f"        card      {model_card[1] if model_card else 'none yet'} (tract card saves it here)",
        soft_wrap=True,
    )


def where(console: Console, address: str) -> None:
    """Where everything is, and what to do next."""
    with lake.connect() as con:
        root = lake.root(con)
    console.print(
        Text("Where", "bold"),
        f"  tables    the schemas of the lake (parquet below {root}/lake/)\n"
        f"        exports   {root}/exports/\n"
        f"        UI        {address}",
        soft_wrap=True,
    )
    console.print(
        Text("Next", "bold"),
        "   tract ui      the asset graph, runs and checks in a browser\n"
        "        tract status  what was published and learned, and who serves\n"
        f"        tract down    stop the servers; the data stays in {lake.home()}\n"
        "        dbt build     from a shell, .venv active: the consumer starts just the same",
        soft_wrap=True,
    )


def _reason(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: str) -> str:
    consumption = consumptions.of(con, exposure.name, publication)
    return str(consumption["reason"]) if consumption else "it is not consumed"


def _metrics(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version) -> Table:
    shown = Table("split", "candidate", box=None, padding=(0, 2), pad_edge=False)
    names = NUMBERS if exposure.task == "regression" else CLASSES
    for name in names:
        shown.add_column(name.replace("_absolute_error", " error").replace("_", " "), justify="right")
    measured = versions.metrics(con, exposure.name, version.version_id)
    wide = measured[measured["slice"] == "all"].pivot_table(
        index=["split", "candidate"], columns="metric", values="value"
    )
    better_is_less = exposure.metric not in metrics.GAINS
    ordered = wide.reset_index().sort_values(["split", exposure.metric], ascending=[False, better_is_less])
    for row in ordered.to_dict("records"):
        shown.add_row(row["split"], row["candidate"], *_numbers(row, names))
    return shown


def _numbers(values: Mapping[Hashable, Any], names: Sequence[str]) -> list[str]:
    found = {name: values.get(name) for name in names}
    return [
        "–" if value is None or value != value else f"{value:.3f}" if name in SHARES else figure(value)
        for name, value in found.items()
    ]


def _predictions(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Table:
    """Of the newest predictions, the first keys: what was published, and what was predicted."""
    spec = exposure.spec
    shown = Table(*spec.key_columns, box=None, padding=(0, 2), pad_edge=False)
    promised = ("lower", "upper") if exposure.task == "regression" else ("probability", "prediction_set")
    for name in (spec.target, "prediction", *promised):
        shown.add_column(name, justify="right")
    newest = champions.newest_predicted(con, exposure)
    assert newest is not None, f"{exposure.name} has a champion, and consumed nothing"
    keys = len(spec.key_columns)
    for row in predictions.standing(con, exposure, newest, rows=5).itertuples(index=False):
        shown.add_row(*map(str, row[:keys]), *map(_value, row[keys:]))
    return shown


def _value(value: Any) -> str:
    """A published or predicted value as a frame has it: a number, a class, a set of classes, or none."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list):
        return ", ".join(plain)
    if isinstance(plain, bool | str):
        return text_of(plain)
    return "–" if plain is None or plain != plain else figure(plain)
