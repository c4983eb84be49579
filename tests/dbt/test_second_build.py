"""A lake that has learned and is built again."""

import pytest

from tests.dbt.conftest import PUBLISHED, Worked, about_publishing, rows_and_rows_in_files, without_the_lake

pytestmark = pytest.mark.xdist_group("dbt worked")


def test_the_same_rows_are_published_again_with_the_same_fingerprint_and_another_snapshot(worked: Worked) -> None:
    assert worked.second.told.returncode == 0, worked.second.told.stdout
    assert about_publishing(worked.second.told) == [PUBLISHED]
    first, second = worked.second.publications
    assert worked.first.publications == [first]
    assert [first["invocation_id"], second["invocation_id"]] == [
        worked.first.invocation_id,
        worked.second.invocation_id,
    ]
    assert first["snapshot_id"] < second["snapshot_id"]
    assert first["fingerprint"] == second["fingerprint"]


def test_valuations_are_exported_once_there_are_predictions(worked: Worked) -> None:
    assert worked.consumed.predicted_rows == 20640
    assert "housing_valuations.parquet" not in worked.first.exports
    with without_the_lake(worked.home) as con:
        found = con.execute(
            """
            select count(*), count(distinct block_group_id), count(predicted_value), list(distinct version_id)
            from read_parquet(?)
            """,
            [worked.second.exports["housing_valuations.parquet"]],
        ).fetchall()
    assert found == [(20640, 20640, 20640, [worked.consumed.version_id])]


def test_what_was_learned_is_parquet_on_s3_down_to_single_rows(worked: Worked) -> None:
    found = rows_and_rows_in_files(worked.home)
    single = ("ml.model_versions", "ml.promotions", "ops.consumptions")
    assert {name: found[name] for name in single} == dict.fromkeys(single, (1, 1))
    assert {name: rows for name, (rows, _) in found.items()} == {name: rows for name, (_, rows) in found.items()}
