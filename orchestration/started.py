"""The runs that were started for publications, as Dagster has them."""

import time
from collections.abc import Sequence

import dagster as dg

from ml import lake
from ml.exposures import Exposure
from ml.records.publications import Publication
from orchestration.attempts import EXPOSURE, LEDGER, PUBLICATION, TRY, Run
from orchestration.errors import AWAY

# Of an exposure's newest runs, enough to hold every try of its newest publication that reached the rows, unless S3 and
# Postgres are away for hours between them.
RUNS = 50
# What Dagster says of a run whose process ended without a word.
FROM_OUTSIDE = "This run has been marked as failed from outside the execution context."


def runs(instance: dg.DagsterInstance, exposure: Exposure, waiting: Sequence[Publication], ledger: str) -> list[Run]:
    """The exposure's newest runs; errors are looked up for those of the newest publication alone, which is decided.

    Args:
        waiting: The publications that are not consumed yet, or not measured, oldest first; at least one.
        ledger: The lake's identity.
    """
    unconsumed = {publication.publication_id for publication in waiting}

    def ending(run: dg.DagsterRun) -> tuple[str, bool]:
        ours = run.tags[PUBLICATION] == waiting[-1].publication_id
        return _ending(instance, run.run_id) if ours and run.is_finished and not run.is_success else ("", True)

    records = instance.get_run_records(dg.RunsFilter(tags={EXPOSURE: exposure.name, LEDGER: ledger}), limit=RUNS)
    found = []
    for record in records:
        run = record.dagster_run
        error, reached = ending(run)
        found.append(
            Run(
                run_id=run.run_id,
                publication_id=run.tags[PUBLICATION],
                ended_at=(record.end_time or time.time()) if run.is_finished else None,
                number=int(run.tags[TRY]),
                consumed=run.tags[PUBLICATION] not in unconsumed,
                error=error,
                reached=reached,
            )
        )
    return found


def _ending(instance: dg.DagsterInstance, run_id: str) -> tuple[str, bool]:
    """The sentence that ended a failed run, and whether the run had reached the rows.

    The sentence is that of its first failed step, or what the daemon saw of a run that did not start or was killed.
    """
    failures = instance.get_records_for_run(
        run_id, of_type={dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    ).records
    for record in failures:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if not event.is_step_failure:
            return "its process was killed" if event.message == FROM_OUTSIDE else lake.first_line(event.message), False
        if (said := event.step_failure_data.user_failure_data) and said.description:
            return lake.first_line(said.description), AWAY not in said.metadata
        if error := event.step_failure_data.error:
            while error.cause:
                error = error.cause
            return lake.first_line(error.message), True
    return "its process was killed", False
