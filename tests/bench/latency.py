"""`make latency`: from the commit of a publication to the commit of its predictions, stage by stage.

Builds the real data, less a row each time so that it is news, on the running stack, and reads the times from
Dagster's event log and from the stopwatch of the consumption. The last build puts the whole data back.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import duckdb

from dbt_project.housing import source as california_housing
from ml import lake
from orchestration.attempts import PUBLICATION
from orchestration.stack import dagster

BUILDS = 5
PATIENCE = 180.0


def build(source: Path | None) -> str:
    """A `dbt build` of the features; the publication."""
    told = f"latency {time.time()}"
    settings = {"HOUSING_SOURCE": str(source)} if source else {}
    command = [str(Path(sys.executable).with_name("dbt")), "build", "--select", "+housing_features"]
    ended = subprocess.run(
        command, env={**os.environ, **settings, "TRACT_BUILT_BY": told}, capture_output=True, text=True, check=False
    )
    with lake.connect() as con:
        found = con.execute("select publication_id from lake.ops.publications where built_by = ?", [told]).fetchone()
    if found is None:
        raise SystemExit(ended.stdout)
    return str(found[0])


def stages(instance: dg.DagsterInstance, publication: str) -> dict[str, float]:
    """Seconds by stage, from the commit of the publication to that of its predictions."""
    published, run_id = consumed(publication)
    time.sleep(2.0)  # Dagster writes down what was committed a moment later
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    first: dict[str, float] = {}
    seconds: dict[str, float] = {}
    committed = 0.0
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None:
            continue
        first.setdefault(f"{event.event_type.name} {event.step_key or ''}".strip(), entry.timestamp)
        if event.is_step_materialization and (event.step_key or "").startswith("consume_"):
            # told as soon as it is committed; the snapshot's own time is that when its transaction began
            committed = committed or entry.timestamp
            for name, value in event.step_materialization_data.materialization.metadata.items():
                if name.startswith("seconds to "):
                    seconds[name.removeprefix("seconds to ")] = float(str(value.value))
    created, started = record.create_timestamp.timestamp(), first["RUN_START"]
    step = next(at for name, at in first.items() if name.startswith("STEP_START consume_"))
    ours = committed - step
    return {
        "the daemon looks": created - published,
        "Dagster launches a process, which imports": started - created,
        "Dagster prepares the step": step - started,
        "enter the lake, import": ours - sum(seconds.values()) + seconds.pop("import", 0.0),
        **{f"our code: {name}": value for name, value in seconds.items()},
        "in all": committed - published,
    }


def consumed(publication: str) -> tuple[float, str]:
    """When a publication was published, and the run that has consumed it; waits."""
    deadline = time.monotonic() + PATIENCE
    with lake.connect() as con:
        while time.monotonic() < deadline:
            row = con.execute(
                """
                select epoch(published_at), run_id
                from lake.ops.consumptions as consumptions
                join lake.ops.publications as publications using (publication_id)
                where publication_id = ?
                """,
                [publication],
            ).fetchone()
            if row:
                return row
            time.sleep(0.2)
    raise SystemExit(f"{publication} was not consumed within {PATIENCE:.0f} s. Is Dagster up (`make ui`)?")


def ended(instance: dg.DagsterInstance, publication: str) -> None:
    """Wait until the publication's run has built what reads predictions, so that the next one starts at rest."""
    runs = dg.RunsFilter(tags={PUBLICATION: publication})
    while any(not run.is_finished for run in instance.get_runs(runs)):
        time.sleep(0.5)


def main() -> None:
    """Build, wait, print."""
    home = lake.home()
    os.environ["TRACT_DAGSTER_URL"] = dagster.environment(home)["TRACT_DAGSTER_URL"]
    instance = dg.DagsterInstance.from_config(str(home / "dagster"))
    measured = []
    try:
        with tempfile.TemporaryDirectory() as directory:
            for number in range(BUILDS):
                source = Path(directory) / f"less-{number}.parquet"
                rows = california_housing.fetch().drop(index=(int(time.time()) + number) % 20_000)
                duckdb.from_df(rows).write_parquet(str(source))
                publication = build(source)
                measured.append(stages(instance, publication))
                ended(instance, publication)
                sys.stdout.write(f"{publication}: {measured[-1]['in all']:.1f} s\n")
    finally:
        ended(instance, build(None))  # the lake has all rows again, whatever happened
    sys.stdout.write(f"\n| stage | median of {BUILDS}, s | smallest | largest |\n|---|---|---|---|\n")
    for name in measured[-1]:
        values = [stage.get(name, 0.0) for stage in measured]
        sys.stdout.write(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |\n")


if __name__ == "__main__":
    main()
