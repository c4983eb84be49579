"""A build that passed its tests starts what learns from it, whoever ran it."""

import dagster as dg
import pytest

from ml import lake
from orchestration.attempts import TRY
from tests.warehouse import FEATURES, NAME, Warehouse

pytestmark = pytest.mark.xdist_group("faults")


def test_a_build_in_a_shell_is_learned_from_and_every_row_predicted(empty: Warehouse, first: str) -> None:
    made = empty.consumption(first)
    assert (made["outcome"], made["predicted"]) == ("trained", first)
    assert made["reason"].startswith("first model, better than the mean predictor")
    version, snapshot, promotion = empty.one(
        """
        select version_id, model_versions.snapshot_id, promotion
        from lake.ml.model_versions join lake.ml.promotions using (exposure, version_id)
        """
    )
    assert (version, f"{FEATURES}@{snapshot}", promotion) == (made["version"], first, 1)
    keys = empty.one(
        """
        select count(*), count(distinct block_group_id)
        from lake.ml.predictions join lake.features.housing_features using (block_group_id)
        where publication_id = ? and isfinite(prediction)
        """,
        first,
    )
    assert keys == (400, 400)


def test_its_run_says_what_it_is_for_and_builds_what_reads_predictions(empty: Warehouse, first: str) -> None:
    (run,) = empty.settled(first)
    assert run.dagster_run.status == dg.DagsterRunStatus.SUCCESS
    assert run.dagster_run.tags[TRY] == "1"
    assert empty.consumption(first)["run"] == run.dagster_run.run_id
    assert empty.count("marts.housing_valuations", "publication_id = ?", first) == 400
    with lake.connect() as con:
        exported = f"{lake.root(con)}/exports/housing_valuations.parquet"
        assert con.execute("select count(*), count(version_id) from read_parquet(?)", [exported]).fetchone() == (
            400,
            400,
        )


def test_the_asset_graph_knows_of_a_build_outside_dagster(empty: Warehouse, first: str) -> None:
    invocation, snapshot, built_by = empty.one(
        "select invocation_id, snapshot_id, built_by from lake.ops.publications where publication_id = ?", first
    )
    (record,) = empty.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(FEATURES.split("."))), limit=10
    ).records
    assert record.asset_materialization is not None
    said = {name: value.value for name, value in record.asset_materialization.metadata.items()}
    assert said["publication"] == first
    assert (said["dbt invocation"], said["snapshot"], said["built by"]) == (invocation, snapshot, built_by)
    assert said["dagster/row_count"] == 400
    predictions = empty.instance.get_latest_materialization_event(dg.AssetKey([NAME, "predictions"]))
    assert predictions is not None and predictions.asset_materialization is not None
    assert predictions.asset_materialization.metadata["publication"].value == first


def test_an_equal_build_is_not_judged_again(warehouse: Warehouse, first: str) -> None:
    versions, predictions = warehouse.count("ml.model_versions"), warehouse.count("ml.predictions")
    again = warehouse.build(seed=1)
    assert again != first
    made = warehouse.consumption(again)
    assert (made["outcome"], made["predicted"]) == ("unchanged", first)
    assert made["reason"] == f"the same rows, spec and code as {first}"
    assert (warehouse.count("ml.model_versions"), warehouse.count("ml.predictions")) == (versions, predictions)
    assert [run.dagster_run.status for run in warehouse.settled(again)] == [dg.DagsterRunStatus.SUCCESS]
