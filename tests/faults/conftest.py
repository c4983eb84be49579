"""One lake with one Dagster for the tests of this folder, which publish to it one after another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import new_database, new_lake
from tests.faults.warehouse import Warehouse


@pytest.fixture(scope="package")
def empty(servers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse whose Dagster runs, before the first build."""
    home = new_lake(servers, tmp_path_factory.mktemp("faults") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        patch.setenv("TRACT_DAGSTER_DATABASE", new_database(servers, "dagster"))
        patch.setenv("TRACT_RETRY_SECONDS", "0.5")
        patch.setenv("TRACT_DAGSTER_URL", "")  # set by start(), and put back in the end
        warehouse = Warehouse(home, tmp_path_factory.mktemp("landed"))
        try:
            warehouse.start()
            yield warehouse
        finally:
            warehouse.stop()
            warehouse.con.close()


@pytest.fixture(scope="package")
def first(empty: Warehouse) -> str:
    """The first publication, when it was learned from."""
    publication = empty.build(seed=1)
    empty.consumption(publication)
    empty.settled(publication)
    return publication


@pytest.fixture
def warehouse(empty: Warehouse, first: str) -> Warehouse:
    """The warehouse with a champion."""
    assert first
    return empty
