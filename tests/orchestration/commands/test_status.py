"""What `make status` says a publication waits for; the rest of it is tried on lakes that dbt built (tests/dbt)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml.lake import locks
from orchestration.commands import status

NOW = datetime.now(UTC)


def test_a_publication_that_is_being_consumed_waits_for_the_run_that_does_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_BUILT_BY", "dagster run 1234")
    with locks.lock("consume points"):
        told = status._waits(locks.holder("consume points"), True, NOW)
    assert told == "[yellow]waits[/], dagster run 1234 is at work, began 0 seconds ago"


def test_one_that_nobody_consumes_waits_for_the_sensor_or_for_dagster(home: Path) -> None:
    held = locks.holder("consume points")
    assert status._waits(held, True, NOW) == "[yellow]waits[/] for the sensor"
    assert status._waits(held, False, NOW) == "[yellow]waits[/] for Dagster: `make ui`"
