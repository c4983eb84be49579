"""A publication that cannot be consumed is left to a person, with the sentence that tells why."""

import dagster as dg
import pytest

from ml.lake import artifacts
from ml.records import champions
from orchestration.attempts import TRY
from tests.warehouse import NAME, Warehouse

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def test_three_tries_then_failed_with_the_reason(warehouse: Warehouse) -> None:
    champion = champions.champion(warehouse.con, NAME)
    assert champion is not None
    content = artifacts.read(warehouse.con, champion.artifact)
    overwrite(warehouse, champion.artifact.uri, b"not the one recorded")
    try:
        # values that nothing explains: the new model does not pass the gate, and the champion has to predict
        publication = warehouse.publish(seed=8, noise=True)
        made = warehouse.consumption(publication)
        runs = warehouse.settled(publication)
    finally:
        overwrite(warehouse, champion.artifact.uri, content)
    assert made["outcome"] == "failed"
    sentence = f"Artifact {champion.artifact.uri} has sha256"
    assert made["reason"].startswith(f"3 tries failed, the last with: {sentence}")
    assert made["reason"].endswith("it was changed after it was written, and is not loaded")
    assert [run.dagster_run.tags[TRY] for run in runs] == ["1", "2", "3"]
    for run in runs:
        assert run.dagster_run.status == dg.DagsterRunStatus.FAILURE
        assert failure(warehouse, run).startswith(sentence)  # what the run's page says first
    first, second, third = ((run.start_time or 0.0, run.end_time or 0.0) for run in runs)
    assert second[0] - first[1] >= 0.5  # pauses that grow, of TRACT_RETRY_SECONDS
    assert third[0] - second[1] >= 2.0
    assert warehouse.count("ml.predictions", "publication_id = ?", publication) == 0


def overwrite(warehouse: Warehouse, uri: str, content: bytes) -> None:
    """Replace a file on S3."""
    with warehouse.con.cursor() as cursor:
        cursor.execute(f"copy (select $1::blob) to '{uri}' (format blob)", [content])


def failure(warehouse: Warehouse, run: dg.RunRecord) -> str:
    """What the run's failed step says."""
    records = warehouse.instance.get_records_for_run(
        run.dagster_run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records
    event = records[0].event_log_entry.dagster_event
    assert event is not None
    said = event.step_failure_data.user_failure_data
    assert said is not None and said.description is not None
    return said.description
