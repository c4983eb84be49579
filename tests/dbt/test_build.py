"""A build from nothing, on an empty lake."""

from pathlib import Path

import pytest

from dbt_project.housing.source import COLUMNS
from ml.records import publications, tables
from tests.dbt.conftest import (
    PUBLISHED,
    exports,
    lake_of,
    publications_of,
    rows_and_rows_in_files,
    without_the_lake,
)

pytestmark = pytest.mark.xdist_group("dbt built")
Built = tuple[Path, str]

TABLES = {
    "landing": {"california_housing"},
    "staging": {"stg_housing"},
    "features": {"housing_features", "housing_scaling", "housing_scaled"},
    "marts": {"housing_valuations", "model_live_errors", "model_monitoring", "model_performance"},
    "ops": {"publications", "consumptions", "completions", "migrations", "followed", "notices", "deliveries"},
    "ml": {
        "model_versions",
        "promotions",
        "champions",
        "standing_predictions",
        "model_metrics",
        "drift",
        "feature_importance",
        "partial_dependence",
        "model_cards",
        "trials",
        "live_errors",
        "heldout_predictions",
        "predictions",
        "current_predictions",
        "removed_predictions",
        "scorings",
    },
    "exports": {"california_housing"},
}


def test_every_table_is_there_and_nothing_is_left_over(built: Built) -> None:
    with lake_of(built[0]) as con:
        rows = con.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = 'lake'"
        )
        found: dict[str, set[str]] = {}
        for schema, table in rows.fetchall():
            found.setdefault(schema, set()).add(table)
    assert found == TABLES


def test_features_have_every_block_group_once(built: Built) -> None:
    with lake_of(built[0]) as con:
        query = "select count(*), count(distinct block_group_id) from lake.features.housing_features"
        assert con.execute(query).fetchall() == [(20640, 20640)]


def test_it_says_that_the_features_are_published_and_as_what(built: Built) -> None:
    (published,) = publications_of(built[0])
    assert built[1].count(PUBLISHED.replace("@…", f"@{published['snapshot_id']}")) == 1
    assert "Not published" not in built[1]


def test_the_publication_is_of_the_builds_own_snapshot(built: Built) -> None:
    (published,) = publications_of(built[0])
    with lake_of(built[0]) as con:
        tagged = con.execute(
            "select commit_message, commit_extra_info from ducklake_snapshots('lake') where snapshot_id = ?",
            [published["snapshot_id"]],
        ).fetchall()
        at = f"lake.features.housing_features as published at (version => {published['snapshot_id']})"
        found = con.execute(publications.fingerprint_sql(at)).fetchall()
    assert tagged == [(published["invocation_id"], "features.housing_features")]
    assert found == [(published["fingerprint"], 20640)]
    assert published["row_count"] == 20640
    assert published["relation"] == "features.housing_features"
    assert published["publication_id"] == f"features.housing_features@{published['snapshot_id']}"


def test_every_row_is_parquet_on_s3_and_none_is_in_the_catalog(built: Built) -> None:
    found = rows_and_rows_in_files(built[0])
    assert found["ops.publications"] == (1, 1)
    assert found["features.housing_scaling"] == (11, 11)
    assert {name: rows for name, (rows, _) in found.items()} == {name: rows for name, (_, rows) in found.items()}


def test_the_first_build_sets_how_the_lake_stores_its_tables(built: Built) -> None:
    with lake_of(built[0]) as con:
        options = dict(con.execute("select option_name, value from ducklake_options('lake')").fetchall())
    assert {name: options[name] for name in tables.OPTIONS} == {**tables.OPTIONS, "parquet_version": "V2"}


def test_the_landed_data_is_exported_for_readers_without_the_lake(built: Built) -> None:
    file = exports(built[0])["california_housing.parquet"]
    with without_the_lake(built[0]) as con:
        assert con.execute("select count(*) from read_parquet(?)", [file]).fetchall() == [(20640,)]
        columns = [name for name, *_ in con.execute("describe select * from read_parquet(?)", [file]).fetchall()]
    assert columns == list(COLUMNS)


def test_valuations_are_not_exported_while_there_are_no_predictions(built: Built) -> None:
    assert list(exports(built[0])) == ["california_housing.parquet"]
    assert "NO ROWS, NOT WRITTEN" in built[1]
