"""What `tract run`, `tract status` and Dagster show of an exposure that predicts classes."""

import io

import dagster as dg
import duckdb
from rich.console import Console

from ml import consumption
from orchestration.assets import metadata
from orchestration.commands import run, status
from tests.ml import classified
from tests.ml.conftest import con, laid_out  # noqa: F401
from tests.ml.rows import silent


def test_a_champion_of_classes_is_shown_with_its_metrics_probabilities_and_sets(con: duckdb.DuckDBPyConnection) -> None:  # noqa: F811
    asked = classified.exposure("is open?", metric="accuracy")
    rows = classified.frame(500)
    publication = classified.publish(con, rows, asked)
    done = consumption.consume(asked, say=silent)
    assert done is not None
    written = io.StringIO()
    console = Console(file=written, width=200, highlight=False, markup=False, emoji=False)
    run.show(console, asked, publication, "trained")
    status.champions(console, con)
    said = [" ".join(line.split()) for line in written.getvalue().splitlines()]

    assert f"class_1: champion {done.champion_id} (logistic), held out:" in said
    head = said.index("split candidate log loss brier score roc auc average precision accuracy")
    first, mean = said[head + 1].split(), said[head + 2].split()
    assert (first[:2], mean[:2]) == (["random", "logistic"], ["random", "mean"])  # the better first
    assert float(first[-1]) == round(done.metrics["accuracy"], 3)
    assert float(mean[4]) == 0.5
    head = said.index("row no is open? prediction probability prediction_set")
    told = said[head + 1].split()
    assert told[0] == "k00000"
    assert told[2] in ("true", "false")
    assert 0 <= float(told[3]) <= 1
    assert {*"".join(told[4:]).split(",")} <= {"true", "false"}
    measured = f"accuracy {done.metrics['accuracy']:.4g} (random) {done.metrics['coverage']:.1%}"
    assert any(measured in line for line in said)


def test_the_columns_that_are_made_of_the_features_are_those_of_the_task() -> None:
    features = dg.AssetKey(["features", "classified"])
    lineage = metadata.prediction_lineage(classified.exposure("order"), features)
    made = ["prediction", "probability", "probabilities", "prediction_set"]
    assert list(lineage.deps_by_column) == ["row no", *made]
    assert {dep.column_name for dep in lineage.deps_by_column["probability"]} == {classified.SIZE, classified.WHERE}
