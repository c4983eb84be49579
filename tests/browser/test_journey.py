"""What a person does and sees in Dagster's UI, in a real browser: from the first build to a failed one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from tests.warehouse import Warehouse, until

if TYPE_CHECKING:
    from tests.browser.ui import Ui

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# From left to right, as docs/operating.md draws it.
ORDER = (
    "stg_housing",
    "housing_features",
    "model",
    "predictions",
    "housing_valuations",
)


def test_the_graph_reads_from_left_to_right(ui: "Ui", learned: str) -> None:
    assert learned
    ui.graph()
    ui.shoot("graph")
    boxes = [ui.node(name).bounding_box() for name in ORDER]
    places = [box["x"] for box in boxes if box]
    assert len(places) == len(ORDER)
    assert places == sorted(places)
    for team in ("producer", "consumer"):
        assert ui.page.locator("foreignObject").get_by_text(team, exact=True).first.is_visible()


def test_a_table_shows_owner_description_rows_and_columns(ui: "Ui", learned: str) -> None:
    assert learned
    ui.asset("features/housing_features")
    for words in (
        "producer@example.com",
        "lake.features.housing_features",
        "Median household income, in 1990 dollars a year.",
    ):
        ui.text(words).wait_for()
    ui.page.get_by_text("One row per block group: what may be learned from").first.wait_for()
    ui.text("400").wait_for()  # rows
    ui.height(1400)
    ui.shoot("features")
    ui.height()


def test_a_version_is_shown_in_pictures_and_numbers(ui: "Ui", learned: str) -> None:
    images = ui.pictures()
    until(lambda: images.count() == 6, "not all pictures are shown")  # no drift before a second publication
    loaded = [image.evaluate("image => [image.complete, image.naturalWidth]") for image in images.all()]
    assert loaded == [[True, 672]] * 6  # 504 points
    ui.height(1800)
    ui.shoot("pictures")
    ui.height()
    ui.asset("housing_value/model_card")
    for words in (learned, "rmse", "this (ridge)", "mean", f"/cards/housing_value/{learned}.html"):
        ui.page.get_by_text(words).first.wait_for()
    ui.height(1400)
    ui.shoot("model_card")
    ui.height()
    ui.asset("housing_value/model")
    for words in ("first model, better than the mean predictor", "seconds to commit"):
        ui.page.get_by_text(words).first.wait_for()
    ui.page.get_by_text("Plots", exact=True).first.click()
    ui.text("rmse").wait_for()
    ui.shoot("plots")


def test_checks_say_what_they_found(ui: "Ui", learned: str) -> None:
    assert learned
    ui.asset("housing_value/model", view="checks")
    ui.text("better_than_mean").click()
    ui.text("Passed").wait_for()
    ui.page.get_by_text("RMSE").first.wait_for()
    ui.shoot("checks")
    ui.asset("features/housing_features", view="checks")
    ui.page.get_by_text(re.compile(r"^Checks \(\d\d\)$")).wait_for()  # dbt's tests
    ui.page.get_by_text(re.compile(r"^unique_housi.*block_group_id$")).last.wait_for(state="attached")


def test_ticks_say_what_was_seen_and_decided(ui: "Ui", learned: str, warehouse: Warehouse) -> None:
    assert learned
    ((publication, rows, built_by),) = warehouse.rows(
        "select publication_id, row_count, built_by from lake.ops.publications"
    )
    ui.sensor("follow_publications")
    ui.page.get_by_role("button", name="View logs").first.wait_for()
    newest = ui.page.get_by_role("row").filter(has=ui.page.get_by_role("button", name="View logs")).first
    newest.get_by_text("0 runs requested").last.click()
    idle = "Nothing was committed since snapshot|every publication of features.housing_features is consumed"
    ui.page.get_by_text(re.compile(idle)).first.wait_for()
    ui.page.get_by_role("button", name="Close").click()
    ui.text("All ticks").click()
    ui.page.get_by_text("Requested", exact=True).last.click()
    ui.page.get_by_text("1 run requested").first.wait_for()
    ui.shoot("ticks")
    ui.page.get_by_role("button", name="View logs").first.click()
    said = f"housing_value: {publication}, {rows:,} rows by {built_by}, is not consumed yet: starts try 1."
    ui.page.get_by_text(said).first.wait_for()
    ui.shoot("tick")


def test_a_failed_build_says_first_what_failed(ui: "Ui", learned: str, warehouse: Warehouse, source: Path) -> None:
    assert learned
    wrong = source.with_name("wrong.parquet")
    with duckdb.connect() as con:
        con.execute(f"copy (select * replace (-1 as \"Population\") from '{source}') to '{wrong}' (format parquet)")
    wrong.replace(source)
    ui.launch("build_features")
    ui.ended("Failure")
    sentence = ui.page.get_by_text("nodes failed.").first
    sentence.wait_for()
    ui.shoot("failed_build")
    assert (
        "tract_between_housing_features_population__1: Got 400 results, configured to fail if != 0"
        in sentence.inner_text()
    )
    assert warehouse.count("ops.publications") == 1
