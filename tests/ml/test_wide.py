"""A table of more columns than DuckDB nests sums, or a picture can hold, is learned from, told and explained."""

from dataclasses import replace

import duckdb
import pytest

from ml import completion, consumption
from ml.exposures import Exposure
from ml.records import findings, tables
from ml.reports import card
from ml.spec import CandidateSpec, PredictionsSpec
from tests.bench import lakes
from tests.ml.rows import silent

pytestmark = pytest.mark.slow

WIDTH = 1_100  # of `max_expression_depth` there are 1,000
NAMES = [f"x{number}" for number in range(WIDTH)]


@pytest.mark.parametrize("of", ["numbers", "classes"])
def test_all_is_made_of_it(con: duckdb.DuckDBPyConnection, exposure: Exposure, of: str) -> None:
    target = "x1 - x2 + random()" if of == "numbers" else "case when x1 + random() > 1 then 'yes' else 'no' end"
    spec = exposure.spec.model_copy(
        update={
            "group": None,
            "folds": 2,
            "predictions": PredictionsSpec(table=f"wide_{of}", incremental=True),
            "candidates": exposure.spec.candidates if of == "numbers" else (CandidateSpec(name="logistic"),),
            "task": {"numbers": "regression", "classes": "classification"}[of],
        }
    )
    kind = {"numbers": "DOUBLE", "classes": "VARCHAR"}[of]
    columns = {"id": "BIGINT", **dict.fromkeys(NAMES, "DOUBLE"), "y": kind}
    wide = replace(exposure, columns=columns, spec=spec)
    for statement in ["select setseed(0.5)", *tables.statements([wide])]:
        con.execute(statement)
    values = ", ".join(f"random() as {name}" for name in NAMES)
    rows = f"select i as id, {values} from range(400) as t(i)"
    lakes.publish(con, [f"create table lake.features.points as select *, {target} as y from ({rows})"], "first")
    first = consumption.consume(wide, say=silent)
    assert first is not None
    assert (first.outcome, first.predicted_rows) == ("trained", 400)
    lakes.publish(con, ["update lake.features.points set x1 = x1 + 1 where id < 3"], "second")
    second = consumption.consume(wide, say=silent)
    assert second is not None
    assert second.champion_id is not None
    if of == "classes":  # whose pictures are of classes, not of columns
        return
    completion.complete(wide, say=silent)
    cards = card.explain(wide, say=silent)
    importance = findings.importance(con, wide.name, second.champion_id)
    assert len(importance) == WIDTH
    assert importance["feature"][0] == "x1"
    assert {picture.name for picture in cards[-1].pictures} >= {"importance", "partial_dependence"}
    assert 10_000 < len(card.saved(con, wide.name)) < 1_500_000
