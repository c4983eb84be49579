"""Learning by the engine's tasks: the same training set, the same model to 1e-9, whichever parts the rows are in."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.exposures import Exposure
from ml.learning import candidates, engines, training_set
from ml.learning.published import RowsError
from ml.learning.training_set import TrainingSet
from ml.linear.gathering import SQL_COLUMNS
from ml.records import publications
from ml.spec import CandidateSpec, FeaturesSpec, Spec
from tests.bench import lakes
from tests.ml import classified, mixed, timed
from tests.ml.rows import silent

pytestmark = [pytest.mark.usefixtures("in_four"), pytest.mark.spark, pytest.mark.xdist_group("spark"), pytest.mark.slow]


def in_parts(con: duckdb.DuckDBPyConnection, relation: str, rows: pd.DataFrame, query: str = "from rows") -> None:
    """Publish a frame as a table of four files, one of them of a single row."""
    con.execute("create or replace temp table whole as select row_number() over () as place, * from (" + query + ")")
    parts = ["place = 1", "place > 1 and place % 3 = 0", "place % 3 = 1 and place > 1", "place % 3 = 2"]
    selected = [f"select * exclude (place) from whole where {part}" for part in parts]
    inserted = [f"insert into lake.{relation} {one}" for one in selected[1:]]
    lakes.publish(con, [f"create or replace table lake.{relation} as {selected[0]}", *inserted], "parts", relation)


def both(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[TrainingSet, TrainingSet]:
    """The newest publication as DuckDB reads it, and as the engine does."""
    publication = publications.newest(con, exposure.relation)
    assert publication is not None
    spark = replace(exposure, spec=exposure.spec.model_copy(update={"engine": "spark"}))
    engine = engines.of(con, spark, publication)
    assert engine is not None
    counts = [count for (count,) in engine.rows(f"select count(*) from {publication.table}")]
    assert len(counts) > 1
    assert sum(counts) == publication.row_count
    here = training_set.read(con, exposure, publication, silent)
    there = training_set.read(con, spark, publication, silent, engine)
    return here, there


def same(con: duckdb.DuckDBPyConnection, here: TrainingSet, there: TrainingSet, name: str) -> None:
    """The same sample and terms, the same model to 1e-9."""
    pd.testing.assert_frame_equal(here.sample, there.sample)
    assert [term.name for term in here.terms] == [term.name for term in there.terms]
    assert here.unknown == there.unknown
    assert list(here.moments) == list(there.moments)
    fits = [candidates.build(CandidateSpec(name=name), con, one, silent).fit() for one in (here, there)]
    assert fits[0].parameters == fits[1].parameters
    np.testing.assert_allclose(fits[0].estimator[-1].coef_, fits[1].estimator[-1].coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fits[0].estimator[-1].intercept_, fits[1].estimator[-1].intercept_, rtol=1e-9)


@pytest.mark.parametrize("alpha_by", ["loo", "folds"])
def test_ridge_of_numbers(con: duckdb.DuckDBPyConnection, engine: str, exposure: Exposure, alpha_by: str) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(1e6, 10, 3000), random.uniform(0, 5, 3000)
    rows = pd.DataFrame(
        {"id": [f"k{i}" for i in range(3000)], "a": a, "b": b, "cell": [f"c{i % 40}" for i in range(3000)]}
    )
    rows["y"] = 3 * a - 2 * b + random.normal(size=3000)
    in_parts(con, exposure.relation, rows)
    asked = replace(exposure, spec=exposure.spec.model_copy(update={"alpha_by": alpha_by, "max_rows": 1000}))
    here, there = both(con, asked)
    assert 500 < len(here.sample) < 1500
    same(con, here, there, "ridge")


def test_ridge_of_columns_of_every_kind(con: duckdb.DuckDBPyConnection, engine: str) -> None:
    exposure = mixed.exposure()
    rows = mixed.frame(900)
    rows.loc[rows.index[:30], "y"] = np.nan
    in_parts(con, exposure.relation, rows, mixed.TABLE)
    here, there = both(con, exposure)
    assert here.unknown == 30
    assert len(here.terms) > 10
    same(con, here, there, "ridge")


def test_ridge_of_many_weighted_columns(con: duckdb.DuckDBPyConnection, engine: str) -> None:
    random = np.random.default_rng(0)
    names = [f"x{i}" for i in range(SQL_COLUMNS + 4)]
    rows = pd.DataFrame(random.normal(size=(2000, len(names))), columns=names)
    rows["y"], rows["w"], rows["id"] = (
        rows.sum(axis=1) + random.normal(size=2000),
        random.uniform(0.5, 2, 2000),
        range(2000),
    )
    exposure = Exposure(
        name="wide",
        owner="Someone",
        owner_email=None,
        description="",
        unique_id="model.tract.wide",
        relation="features.wide",
        columns={**dict.fromkeys([*names, "y", "w"], "DOUBLE"), "id": "BIGINT"},
        spec=Spec(key="id", target="y", weight="w", candidates=("ridge",), features=FeaturesSpec(include=tuple(names))),
    )
    in_parts(con, exposure.relation, rows)
    same(con, *both(con, exposure), "ridge")


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting"])
def test_what_is_judged_by_what_came_before_it(con: duckdb.DuckDBPyConnection, engine: str, candidate: str) -> None:
    exposure = timed.exposure(backtest={"folds": 3, "gap": "10 days"})
    in_parts(con, exposure.relation, timed.frame(), 'select * replace (cast("at" as timestamp) as "at") from rows')
    here, there = both(con, exposure)
    assert here.periods is not None
    assert here.periods == there.periods
    held = [candidates.build(CandidateSpec(name=candidate), con, one, silent).held_out("time") for one in (here, there)]
    assert np.isfinite(held[0]).any()
    np.testing.assert_allclose(held[0], held[1], rtol=1e-9)
    if candidate == "ridge":
        same(con, here, there, "ridge")


def test_logistic(con: duckdb.DuckDBPyConnection, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.linear.logistic._HELD", 0)  # each step is a scan, as of many rows
    exposure = classified.exposure("is open?")
    in_parts(con, exposure.relation, classified.frame(900))
    here, there = both(con, exposure)
    assert here.classes == there.classes == (False, True)
    same(con, here, there, "logistic")


def test_a_value_that_is_not_finite_is_named(con: duckdb.DuckDBPyConnection, engine: str, exposure: Exposure) -> None:
    rows = pd.DataFrame({"id": [f"k{i}" for i in range(200)], "a": range(200), "b": 1.5, "cell": "c", "y": 2.0})
    rows["a"] = rows["a"].astype(float)
    rows["cell"] = [f"c{i % 20}" for i in range(200)]
    rows.loc[7, "b"] = np.inf
    in_parts(con, exposure.relation, rows)
    with pytest.raises(RowsError, match="column 'b' has 1 infinite value"):
        both(con, replace(exposure, spec=exposure.spec.model_copy(update={"engine": "spark"})))


def test_deleted_rows_are_refused(con: duckdb.DuckDBPyConnection, engine: str, exposure: Exposure) -> None:
    cells = [f"c{i % 20}" for i in range(200)]
    rows = pd.DataFrame({"id": [f"k{i}" for i in range(200)], "a": 1.0, "b": 1.5, "cell": cells, "y": 2.0})
    in_parts(con, exposure.relation, rows)
    lakes.publish(con, [f"delete from lake.{exposure.relation} where id = 'k7'"], "deleted")
    with pytest.raises(
        Exception, match=r"features.points has deleted rows at snapshot \d+, which its files still hold"
    ):
        both(con, exposure)
