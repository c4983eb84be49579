"""What MLflow holds is what the lake holds: read back from a real server through MLflow's own client."""

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from ml import promotion
from ml.exposures import Exposure
from ml.records import versions
from ml.reports import card
from ml.reports import facts as version_facts
from ml.reports import mlflow as tracking
from ml.spec import CandidateSpec
from orchestration.stack import mlflow
from tests.conftest import new_database
from tests.ml import classified, mixed
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = pytest.mark.xdist_group("mlflow")  # one server for all of them


@pytest.fixture(scope="session")
def server(servers: Path) -> Iterator[str]:
    """A real server on the shared Postgres and S3, started as `make mlflow` does."""
    pytest.importorskip("mlflow", reason="MLflow's client is not installed: `make mlflow` installs it")
    if not mlflow.PROGRAM.exists():
        pytest.skip(f"MLflow's server is not installed: {mlflow.PROGRAM} is missing, `make mlflow` installs it")
    with pytest.MonkeyPatch.context() as told:
        told.setenv("TRACT_HOME", str(servers))
        told.setenv("TRACT_MLFLOW_DATABASE", new_database(servers, "mlflow"))
        address = mlflow.start(servers)
    yield address
    mlflow.stop(servers)


@pytest.fixture
def exposure(exposure: Exposure, request: pytest.FixtureRequest) -> Exposure:
    """With a name of its own, so that tests share a server and no experiment; and a slice with a comma in its name."""
    slices = "case when a < 5 then 'under 5,0' else '5,0 and more' end"
    return replace(
        exposure,
        name=f"points_{abs(hash(request.node.name))}",
        spec=exposure.spec.model_copy(update={"slices": {"a": slices}}),
    )


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)  # for what the tests load by themselves
    return MlflowClient(server)


def consume(exposure: Exposure) -> str:
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    assert made.version_id is not None
    return made.version_id


def only_run(client: "MlflowClient", exposure: Exposure) -> "Run":
    experiment = client.get_experiment_by_name(exposure.name)
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    return run


def test_a_version_is_logged_once_with_the_lakes_numbers(
    client: "MlflowClient", con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish(0.1)
    version_id = consume(exposure)
    said: list[str] = []
    mirrored = tracking.mirror(exposure, say=said.append)
    assert mirrored is not None
    assert (mirrored.logged, mirrored.champion_id) == ((version_id,), version_id)
    assert said == [
        f"{version_id} is logged in MLflow.",
        f"{version_id}, MLflow's {exposure.name} 1, has the alias champion.",
    ]

    run = only_run(client, exposure)
    assert (run.info.run_name, run.info.status) == (version_id, "FINISHED")
    moments = con.execute(
        """
        select date_trunc('millisecond', published_at), date_trunc('millisecond', trained_at)
        from lake.ml.model_versions
        join lake.ops.publications using (publication_id)
        where version_id = ?
        """,
        [version_id],
    ).fetchall()
    assert moments == [
        (datetime.fromtimestamp(run.info.start_time / 1000, UTC), datetime.fromtimestamp(run.info.end_time / 1000, UTC))
    ]
    assert mirrored.runs[version_id].endswith(f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    version = versions.version(con, exposure.name, version_id)
    assert version is not None
    expected = {}
    for candidate, split, part, metric, value in con.execute(
        "select candidate, split, slice, metric, value from lake.ml.model_metrics where exposure = ?", [exposure.name]
    ).fetchall():
        path = [split, *(["mean"] if candidate == "mean" else []), *([part] if part != "all" else []), metric]
        expected["/".join(path).replace(",", "_")] = value
    assert {"random/rmse", "group/mean/mae", "random/a: under 5_0/coverage"} < set(expected)
    means = con.execute("select avg(a), avg(b) from lake.features.points").fetchall()[0]
    found = dict(run.data.metrics)
    assert [found.pop("scaler_mean/a"), found.pop("scaler_mean/b")] == pytest.approx(means, rel=1e-12)
    assert found == expected

    params = run.data.params
    assert params["candidate"] == "ridge"
    assert params["features"] == "a, b"
    assert float(params["alpha"]) == version.parameters["alpha"]
    assert (params["spec.target"], params["spec.folds"], params["spec.split"]) == ("y", "5", "random")
    tags = run.data.tags
    assert tags["tract.publication"] == publication
    assert publication == f"features.points@{tags['tract.snapshot']}"
    assert (tags["tract.version"], tags["tract.rows"], tags["tract.outcome"]) == (version_id, "400", "trained")
    assert (tags["tract.artifact_uri"], tags["tract.artifact_sha256"]) == (
        version.artifact.uri,
        version.artifact.sha256,
    )

    artifacts = client.list_artifacts(run.info.run_id, "pictures")
    drawn = ["predicted_against_actual", "error_by_slice", "coverage"]  # there is no card, so nothing was explained
    assert {artifact.path for artifact in artifacts} == {f"pictures/{name}.svg" for name in drawn}
    facts = version_facts.read(con, exposure, version_id)
    for picture in card.draw(facts, version_facts.heldout(con, facts)):
        fetched = client.download_artifacts(run.info.run_id, f"pictures/{picture.name}.svg")
        assert Path(fetched).read_bytes() == picture.svg

    said.clear()
    again = tracking.mirror(exposure, say=said.append)
    assert again is not None
    assert (again.logged, again.runs, said) == ((), mirrored.runs, [])  # nothing new, nothing said
    only_run(client, exposure)


NEIGHBOURS = {
    "name": "neighbours",
    "estimator": "ml.recipes.neighbours.gradient_boosting",
    "parameters": {"longitude": "a", "latitude": "b", "max_iter": 3},
}


@pytest.mark.parametrize(
    ("recipe", "written"),
    [("ridge", "skops"), ("gradient_boosting", "skops"), (NEIGHBOURS, "cloudpickle")],
    ids=["ridge", "boosting", "neighbours"],
)
def test_the_champions_model_predicts_what_the_artifact_predicts(
    client: "MlflowClient",
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publish: Publish,
    recipe: object,
    written: str,
) -> None:
    import mlflow.sklearn

    publish(0.1)
    asked = replace(
        exposure, spec=exposure.spec.model_copy(update={"candidates": (CandidateSpec.model_validate(recipe),)})
    )
    version_id = consume(asked)
    tracking.mirror(asked, say=silent)
    champion = f"models:/{asked.name}@champion"
    rows = con.sql("select a, b from lake.features.points order by id").df()
    version = versions.version(con, asked.name, version_id)
    assert version is not None
    ours = versions.load(con, asked.name, version).predict(rows)
    assert np.array_equal(mlflow.sklearn.load_model(champion).predict(rows), ours)
    loaded = mlflow.pyfunc.load_model(champion)
    assert np.array_equal(loaded.predict(rows), ours)
    signature = loaded.metadata.signature
    assert [(column.name, str(column.type)) for column in signature.inputs] == [
        ("a", "DataType.double"),
        ("b", "DataType.double"),
    ]
    assert loaded.input_example.shape == (5, 2)
    assert loaded.metadata.flavors["sklearn"]["serialization_format"] == written
    assert client.get_model_version_by_alias(asked.name, "champion").tags["tract.version"] == version_id


@pytest.mark.parametrize("recipe", ["ridge", "gradient_boosting"])
def test_a_model_of_raw_columns_predicts_raw_columns(
    recipe: str, client: "MlflowClient", con: duckdb.DuckDBPyConnection, request: pytest.FixtureRequest
) -> None:
    import mlflow.sklearn

    asked = replace(mixed.exposure(recipe), name=f"mixed_{abs(hash(request.node.name))}")
    rows = mixed.frame()
    mixed.publish(con, rows)
    version_id = consume(asked)
    tracking.mirror(asked, say=silent)
    version = versions.version(con, asked.name, version_id)
    assert version is not None
    raw = rows[list(mixed.FEATURES)]
    ours = versions.load(con, asked.name, version).predict(raw)
    champion = f"models:/{asked.name}@champion"
    assert np.array_equal(mlflow.sklearn.load_model(champion).predict(raw), ours)
    loaded = mlflow.pyfunc.load_model(champion)
    names = {column.name: str(column.type).removeprefix("DataType.") for column in loaded.metadata.signature.inputs}
    assert names == {
        mixed.SIZE: "double",
        mixed.WHERE: "string",
        mixed.OPEN: "double",
        mixed.SINCE: "datetime",
        mixed.CODE: "double",
        mixed.AREA: "double",
    }
    assert np.array_equal(loaded.predict(raw.assign(**{mixed.OPEN: raw[mixed.OPEN].astype(float)})), ours)


def test_what_was_committed_without_mlflow_is_logged_later_and_rollback_moves_the_alias(
    client: "MlflowClient", exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    publish(0.2)
    second = consume(exposure)
    mirrored = tracking.mirror(exposure, say=silent)
    assert mirrored is not None
    assert mirrored.logged == (first, second)

    def champion() -> str:
        return str(client.get_model_version_by_alias(exposure.name, "champion").tags["tract.version"])

    assert champion() == second
    promotion.rollback(exposure, by="Ann", reason="the second is odd", say=silent)
    tracking.mirror(exposure, say=silent)
    assert champion() == first
    promotion.promote(exposure, second, by="Ann", reason="it was not", say=silent)
    tracking.mirror(exposure, say=silent)
    assert champion() == second
    assert len(client.search_model_versions(f"name = '{exposure.name}'")) == 2


def test_what_a_killed_mirroring_left_is_replaced(
    client: "MlflowClient", exposure: Exposure, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    class KilledError(Exception):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    publish(0.1)
    version_id = consume(exposure)
    with monkeypatch.context() as at_the_last_step:
        at_the_last_step.setattr(mlflow, "register_model", killed)
        with pytest.raises(KilledError):
            tracking.mirror(exposure, say=silent)
    left = only_run(client, exposure)
    mirrored = tracking.mirror(exposure, say=silent)
    assert mirrored is not None
    assert mirrored.logged == (version_id,)
    assert only_run(client, exposure).info.run_id != left.info.run_id


def test_off_training_goes_on_and_one_sentence_says_so(exposure: Exposure) -> None:
    said: list[str] = []
    assert tracking.mirror(exposure, say=said.append) is None
    assert said == ["MLflow is off: MLFLOW_TRACKING_URI is not set, and `make mlflow` has started no server here."]


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def gone(deaf: str) -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(("where", "why"), [("deaf", "timed out"), ("gone", "Connection refused")])
def test_unreachable_it_costs_a_few_seconds_and_one_sentence(
    exposure: Exposure,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    where: str,
    why: str,
) -> None:
    pytest.importorskip("mlflow", reason="MLflow's client is not installed: `make mlflow` installs it")
    import mlflow.sklearn  # seconds that are no waiting for a server

    assert mlflow is not None
    uri = request.getfixturevalue(where)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    publish(0.1)
    consume(exposure)
    said: list[str] = []
    begun = time.monotonic()
    assert tracking.mirror(exposure, say=said.append) is None
    assert time.monotonic() - begun < 10
    assert said == [
        f"MLflow at {uri} does not answer as it should ({why}): what it lacks will be logged there by the "
        "next run that finds it well."
    ]


def test_a_long_name_is_cut_and_one_of_any_script_is_taken() -> None:
    long, other = "日本 🏡 हिन्दी: " + "x" * 300, "日本 🏡 हिन्दी: " + "x" * 301
    found = tracking._numbered([long, other])
    assert sorted(map(len, found.values())) == [150, 152]
    assert all(re.fullmatch(r"[/\w.\- :]*", name) for name in found.values())  # MLflow's own rule


def test_slices_that_mlflow_would_take_for_one_are_numbered() -> None:
    assert tracking._numbered(["age: <20", "age: >20", "age: 20"]) == {
        "age: 20": "age: 20",
        "age: <20": "age: _20",
        "age: >20": "age: _20.2",
    }


@pytest.mark.parametrize(
    ("target", "name"), [("is open?", "logistic"), ("order", "gradient_boosting"), ("Klasse", "logistic")]
)
def test_a_version_of_classes_is_logged_with_its_metrics_pictures_and_labels(
    client: "MlflowClient", con: duckdb.DuckDBPyConnection, target: str, name: str
) -> None:
    import mlflow.sklearn

    asked = replace(classified.exposure(target, candidates=(name,)), name=f"classes_{abs(hash(target + name))}")
    rows = classified.frame(600)
    classified.publish(con, rows, asked)
    version_id = consume(asked)
    assert tracking.mirror(asked, say=silent) is not None
    run = only_run(client, asked)
    facts = version_facts.read(con, asked, version_id)
    ours = facts.metrics[(facts.metrics["candidate"] == name) & (facts.metrics["slice"] == "all")]
    assert {"log_loss", "roc_auc", "ece", "mean_set_size"} < set(ours["metric"])
    for split, metric, value in zip(ours["split"], ours["metric"], ours["value"], strict=True):
        assert run.data.metrics[f"{split}/{metric}"] == value
    drawn = {Path(artifact.path).stem for artifact in client.list_artifacts(run.info.run_id, "pictures")}
    assert drawn == {"roc", "reliability", "confusion", "error_by_slice", "coverage"}
    loaded = mlflow.sklearn.load_model(f"models:/{asked.name}@champion")
    features = rows[list(facts.made.features)]
    estimator = versions.load(con, asked.name, facts.made)
    np.testing.assert_array_equal(loaded.predict(features), estimator.predict(features))
    np.testing.assert_allclose(loaded.predict_proba(features), estimator.predict_proba(features), rtol=1e-12)
