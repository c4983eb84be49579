"""A part of Dagster that died under a `dagster dev` that lives: one call of `make ui` mends it."""

import pytest

from orchestration.stack import dagster, processes
from tests.warehouse import Warehouse, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("part", ["dagster api grpc", "dagster._daemon"])
def test_one_call_mends_it(warehouse: Warehouse, part: str) -> None:
    (dead,) = (
        process
        for process in processes.family(warehouse.home, dagster.NAME)
        if part in " ".join(process.cmdline()) and "multiprocessing" not in " ".join(process.cmdline())
    )
    dead.kill()
    until(lambda: dagster.status(warehouse.home).state in ("broken", "stopped"), "nobody sees that it died")
    warehouse.start()
    assert dagster.status(warehouse.home).state == "up"
    publication = warehouse.publish(seed=20 + len(part))
    assert warehouse.consumption(publication)["outcome"] in ("trained", "refreshed")
    warehouse.settled(publication)
