"""A publication is consumed by the engine: the same champion, the same predictions, in one commit or not at all."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml import consumption
from ml.exposures import Exposure
from ml.records import predictions, versions
from ml.spark import tables as engine_tables
from ml.spark.session import EngineError
from ml.spec import Spec
from tests.ml import classified, mixed
from tests.ml.conftest import Publish
from tests.ml.rows import silent

pytestmark = [
    pytest.mark.usefixtures("in_four"),
    pytest.mark.spark,
    pytest.mark.xdist_group("spark"),
    pytest.mark.slow,
]


def asked(exposure: Exposure, name: str, **spec: object) -> Exposure:
    """The same exposure under another name, with other settings."""
    return replace(exposure, name=name, spec=exposure.spec.model_copy(update=spec))


def consumed(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: str
) -> tuple[pd.DataFrame, dict[str, object]]:
    """What is predicted, and the version's parameters."""
    found = consumption.consume(exposure, say=silent)
    assert found is not None
    assert found.champion_id is not None
    row = versions.row(con, exposure.name, found.champion_id)
    return predictions.of_version(con, exposure, publication, found.champion_id), row["parameters"]


def both(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of what DuckDB learned and of what the engine did; the versions say which."""
    here, parameters = consumed(con, asked(exposure, "here"), publication)
    assert "engine" not in parameters
    there, parameters = consumed(con, asked(exposure, "there", engine="spark"), publication)
    assert parameters["engine"] == "spark"
    return here, there


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting"])
def test_numbers(
    con: duckdb.DuckDBPyConnection, engine: str, publish: Publish, exposure: Exposure, candidate: str
) -> None:
    spec = Spec(key="id", target="y", group="cell", candidates=(candidate,))
    here, there = both(con, replace(exposure, spec=spec), publish(rows=1000))
    assert len(there) == 1000
    pd.testing.assert_frame_equal(here, there, rtol=1e-9)


def test_columns_of_every_kind(con: duckdb.DuckDBPyConnection, engine: str) -> None:
    exposure = mixed.exposure("ridge")
    here, there = both(con, exposure, mixed.publish(con, mixed.frame()))
    pd.testing.assert_frame_equal(here, there, rtol=1e-9)


@pytest.mark.parametrize("target", list(classified.KINDS))
def test_classes(con: duckdb.DuckDBPyConnection, engine: str, target: str) -> None:
    exposure = classified.exposure(target)
    here, there = both(con, exposure, classified.publish(con, classified.frame(), exposure))
    listed = "probabilities"
    pd.testing.assert_frame_equal(here.drop(columns=listed), there.drop(columns=listed), rtol=1e-9)
    np.testing.assert_allclose(np.array(here[listed].tolist()), np.array(there[listed].tolist()), rtol=1e-9)


def test_an_engine_that_goes_leaves_nothing_and_the_next_try_leaves_every_row_once(
    con: duckdb.DuckDBPyConnection, engine: str, publish: Publish, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark = asked(exposure, exposure.name, engine="spark")
    publication = publish()
    write = engine_tables.write

    def written_and_gone(frame: object, place: str) -> None:
        write(frame, place)
        raise EngineError("The engine at sc://… is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(engine_tables, "write", written_and_gone)
        with pytest.raises(EngineError, match="is gone"):
            consumption.consume(spark, say=silent)
    tables = ("ml.predictions", "ml.model_versions", "ml.scorings", "ops.consumptions")
    assert [con.execute(f"select count(*) from lake.{table}").fetchall() for table in tables] == [[(0,)]] * 4
    found = consumption.consume(spark, say=silent)
    assert found is not None
    assert found.predicted_rows == 400
    assert con.execute("select count(*), count(distinct id) from lake.ml.predictions").fetchall() == [(400, 400)]
    assert found.publication.publication_id == publication
    ((orphans,),) = con.execute(
        "select count(*) from ducklake_delete_orphaned_files('lake', dry_run => true, cleanup_all => true) "
        "where path like '%/predictions/%'"
    ).fetchall()
    assert orphans > 0


def test_the_number_of_rows_decides_where_the_spec_says_so(
    con: duckdb.DuckDBPyConnection, engine: str, publish: Publish, exposure: Exposure
) -> None:
    publication = publish(rows=400)
    _, few = consumed(con, asked(exposure, "few", engine="spark", spark_above_rows=400), publication)
    _, many = consumed(con, asked(exposure, "many", spark_above_rows=399), publication)
    assert "engine" not in few
    assert many["engine"] == "spark"


def test_without_an_address_it_is_a_sentence(
    con: duckdb.DuckDBPyConnection, publish: Publish, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACT_SPARK", raising=False)
    publish()
    with pytest.raises(EngineError, match="TRACT_SPARK is not set, and something is to run on Spark"):
        consumption.consume(asked(exposure, exposure.name, engine="spark"), say=silent)
