"""One lake with one Dagster for the tests of this folder, which publish to it one after another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warehouse import Warehouse, running


@pytest.fixture(scope="package")
def empty(
    servers: Path, parsed: Path, dagster_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    """A warehouse whose Dagster runs, before the first build."""
    with running(
        servers, parsed, dagster_target, tmp_path_factory.mktemp("faults"), TRACT_RETRY_SECONDS="0.5"
    ) as warehouse:
        yield warehouse


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
