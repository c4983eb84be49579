"""A lake with Dagster on it and a browser before it; skipped where there is no browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.warehouse import Warehouse, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.ui import Ui

SHOTS = ROOT / ".ci" / "artifacts"  # where the pictures of what was seen are kept


@pytest.fixture(scope="package")
def chromium() -> "Iterator[Browser]":
    """One for all tests, as Playwright starts once in a thread; skips, with the name of what is missing."""
    pytest.importorskip("playwright", reason="playwright is not installed: make dev")
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    from tests.browser.ui import chromium

    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that Dagster's builds land."""
    return tmp_path_factory.mktemp("source") / "houses.parquet"


@pytest.fixture(scope="package")
def warehouse(
    chromium: "Browser",  # skipped before a lake is made
    servers: Path,
    parsed: Path,
    dagster_target: Path,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Warehouse]:
    """A warehouse whose Dagster runs, before the first build; 400 block groups are landed."""
    with running(
        servers, parsed, dagster_target, tmp_path_factory.mktemp("browser"), HOUSING_SOURCE=str(source)
    ) as made:
        shutil.copyfile(made.land(seed=1), source)
        yield made


@pytest.fixture(scope="package")
def ui(warehouse: Warehouse, chromium: "Browser") -> "Ui":
    from tests.browser.ui import opened

    return opened(chromium, warehouse.address, SHOTS)


@pytest.fixture(scope="package")
def learned(ui: "Ui", warehouse: Warehouse) -> str:
    """The producer launched by its button, the consumer that its publication started seen to its end; its version."""
    ui.launch("build_features")
    ui.ended("Success")
    ui.shoot("producer_run")
    ((publication,),) = warehouse.rows("select publication_id from lake.ops.publications")
    ui.open("/runs")
    row = ui.page.get_by_role("row").filter(has_text="learn").filter(has_text="follow_publications")
    row = row.or_(ui.page.locator("div").filter(has_text="learn").filter(has_text="follow_publications"))
    row.last.wait_for()  # nobody called it
    warehouse.consumption(publication)
    (run,) = warehouse.runs(publication)
    ui.run(run.dagster_run.run_id)
    ui.ended("Success")
    ui.shoot("consumer_run")
    ((version,),) = warehouse.rows("select version_id from lake.ml.promotions")
    return str(version)
