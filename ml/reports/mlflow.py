"""MLflow as a mirror of what the lake holds: a run and a registered model per version, the champion as an alias.

The lake is the truth: MLflow is only asked which versions it has. A version that was committed while MLflow was off, or
whose mirroring was killed, is mirrored by the next call.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as library_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from ml import lake
from ml.code import command
from ml.columns import read_sql
from ml.exposures import Exposure
from ml.lake import locks
from ml.progress import Say
from ml.records import champions, versions
from ml.records.publications import table_at
from ml.reports import card
from ml.reports.facts import Facts, heldout
from ml.reports.facts import read as read_facts

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
VERSION = "tract.version"  # the tag that names a version
REGISTERED_TAGS = (VERSION, "tract.publication", "tract.snapshot", "tract.artifact_sha256")  # a run has all of the tags
NAME_LENGTH = 150  # of 250 that MLflow takes for a metric's, which has the split and the candidate too
EXAMPLE_ROWS = 5
# Seconds and retries. The first request finds out whether a server is there: one that is up answers in 0.1 s, one that
# takes no connection costs these seconds. The others carry models, which the server stores on S3 before it answers.
FIRST_REQUEST, OTHER_REQUESTS = (4, 0), (60, 2)
# The packages of a process that loads a model from MLflow.
MODEL_PACKAGES = ("scikit-learn", "numpy", "scipy", "pandas", "skops", "cloudpickle")


@dataclass(frozen=True)
class Mirrored:
    """What MLflow holds of an exposure after `mirror`.

    Attributes:
        logged: The versions that were not there before, oldest first.
        champion_id: The version that has the alias; None when none ever passed the gate.
        runs: The address of each version's run in MLflow's UI.
    """

    logged: tuple[str, ...]
    champion_id: str | None
    runs: Mapping[str, str]


def address_file(home: Path) -> Path:
    """Where the local stack writes its server's address while it runs; read at every use, no process restarts."""
    return home / "mlflow_uri"


def address() -> str | None:
    """The address of MLflow's server: `MLFLOW_TRACKING_URI`, or else the local stack's; None when MLflow is off."""
    if configured := os.environ.get("MLFLOW_TRACKING_URI"):
        return configured
    file = address_file(lake.home())
    return file.read_text().strip() if file.exists() else None


def mirror(exposure: Exposure, *, say: Say = print) -> Mirrored | None:
    """Log each version of the exposure that MLflow does not have yet, and give the champion its alias.

    When MLflow is off, is not installed or does not answer, one sentence is said. The commits in the lake stay, and the
    next mirroring logs them.

    Returns:
        None when MLflow is off, is not installed or does not answer.

    Raises:
        LakeUnavailableError: The lake is not up.
        ArtifactError: A version's file is missing or was changed.
    """
    where = address()
    if where is None:
        say(f"MLflow is off: MLFLOW_TRACKING_URI is not set, and {command('mlflow')} has started no server here.")
        return None
    if find_spec("mlflow") is None:
        say(f"MLflow at {where} is asked for, but its client is not installed: pip install '.[mlflow]'.")
        return None
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it is read at import
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with _client_settings(where, *FIRST_REQUEST):
            client = mlflow.MlflowClient(where)
            experiment = client.get_experiment_by_name(exposure.name)
        with (
            _client_settings(where, *OTHER_REQUESTS),
            locks.lock(f"mirror {exposure.name}", say=say),
            lake.connect() as con,
        ):
            experiment_id = experiment.experiment_id if experiment else _experiment(client, exposure)
            return _mirror(client, con, exposure, experiment_id, where, say)
    except MlflowException as error:
        say(
            f"MLflow at {where} does not answer as it should ({_reason(error)}): what it lacks will be logged there by "
            "the next run that finds it well."
        )
        return None


def _mirror(
    client: "MlflowClient",
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    experiment_id: str,
    where: str,
    say: Say,
) -> Mirrored:
    known = _known(client, exposure)
    logged = [version_id for version_id in versions.version_ids(con, exposure.name) if version_id not in known]
    for version_id in logged:
        _log(client, con, exposure, version_id, experiment_id)
        say(f"{version_id} is logged in MLflow.")
    if logged:
        known = _known(client, exposure)
    champion = champions.champion(con, exposure.name)
    if champion:
        number, _ = known[champion.version_id]
        aliases = client.get_registered_model(exposure.name).aliases
        if str(aliases.get(ALIAS)) != number:
            client.set_registered_model_alias(exposure.name, ALIAS, number)
            say(f"{champion.version_id}, MLflow's {exposure.name} {number}, has the alias {ALIAS}.")
    runs = {
        version_id: f"{where.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"
        for version_id, (_, run_id) in known.items()
    }
    return Mirrored(tuple(logged), champion.version_id if champion else None, runs)


def _known(client: "MlflowClient", exposure: Exposure) -> dict[str, tuple[str, str]]:
    """MLflow's number and run of each version that it has; registration, the last step, gives a version its tag."""
    registered = client.search_model_versions(
        f"name = '{exposure.name}'", max_results=200_000
    )  # as many as MLflow allows
    return {each.tags[VERSION]: (str(each.version), str(each.run_id)) for each in registered if VERSION in each.tags}


def _experiment(client: "MlflowClient", exposure: Exposure) -> str:
    """The exposure's experiment, made under its lock unless another process has just made it."""
    there = client.get_experiment_by_name(exposure.name)
    if there:
        return str(there.experiment_id)
    tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": exposure.description}
    return str(client.create_experiment(exposure.name, tags=tags))


def _log(
    client: "MlflowClient", con: duckdb.DuckDBPyConnection, exposure: Exposure, version_id: str, experiment_id: str
) -> None:
    """Log one version; its registration, the last step, marks it as complete."""
    import mlflow

    for left in client.search_runs([experiment_id], f"tags.`{VERSION}` = '{version_id}'"):
        client.delete_run(left.info.run_id)  # of a mirroring that was killed
    facts = read_facts(con, exposure, version_id)
    tags, metrics = _tags(facts), _metrics(con, facts)
    moments = facts.publication["published_at"], facts.version["trained_at"]
    began, ended = (int(moment.timestamp() * 1000) for moment in moments)
    job = {"mlflow.source.name": "tract", "mlflow.source.type": "JOB"}
    run = client.create_run(experiment_id, began, tags | job, version_id)
    with mlflow.start_run(run.info.run_id, nested=True):  # nested: a notebook may have a run of its own
        mlflow.log_params(_params(facts))
        mlflow.log_dict(facts.made.parameters, "parameters.json")
        with tempfile.TemporaryDirectory() as drawn:
            for picture in card.draw(facts, heldout(con, facts)):
                (Path(drawn) / f"{picture.name}.svg").write_bytes(picture.svg)
            mlflow.log_artifacts(drawn, "pictures")
        model_uri, model_id = _log_model(con, facts)
        mlflow.log_metrics(metrics, timestamp=ended, model_id=model_id)
    client.set_terminated(run.info.run_id, "FINISHED", ended)
    mlflow.register_model(model_uri, exposure.name, tags={name: tags[name] for name in REGISTERED_TAGS})


def _log_model(con: duckdb.DuckDBPyConnection, facts: Facts) -> tuple[str, str]:
    """The version's estimator, its sha256 checked, with signature and an example; its address and id in MLflow."""
    import mlflow.sklearn
    from mlflow.models import infer_signature

    estimator = versions.load(con, facts.exposure.name, facts.made)
    learned_from = table_at(facts.version["relation"], facts.version["snapshot_id"])
    rows = con.execute(f"select {read_sql(facts.made.kinds)} from {learned_from} limit {EXAMPLE_ROWS}").df()
    logged = mlflow.sklearn.log_model(
        estimator,
        name=facts.exposure.name,
        signature=infer_signature(rows, estimator.predict(rows)),
        input_example=rows,
        pip_requirements=[f"{name}=={library_version(name)}" for name in MODEL_PACKAGES],
        **_format(estimator),
    )
    return logged.model_uri, logged.model_id


def _format(estimator: Any) -> dict[str, Any]:
    """The format of a model: skops, which runs no code at loading; cloudpickle for what skops cannot write or read."""
    import skops.io

    try:
        content = skops.io.dumps(estimator)
        # skops loads nothing that is not named; the artifact is our own, and its sha256 was just checked
        trusted = skops.io.get_untrusted_types(data=content)
        skops.io.loads(content, trusted=trusted)
    except (TypeError, AttributeError):  # scipy's cKDTree in `ml.recipes.neighbours`; pandas' methods in encoders
        return {"serialization_format": "cloudpickle"}
    return {"serialization_format": "skops", "skops_trusted_types": trusted}


def _params(facts: Facts) -> dict[str, Any]:
    """The recipe, the spec, and the parameters that fitting chose."""
    made = facts.made
    return {
        "candidate": made.candidate,
        "features": ", ".join(made.features),
        **made.chosen,
        **{f"recipe.{name}": value for name, value in made.recipe.chosen.items()},
        **{f"spec.{name}": value for name, value in facts.version["spec"].items()},
    }


def _metrics(con: duckdb.DuckDBPyConnection, facts: Facts) -> dict[str, float]:
    """Held-out metrics as `split/metric`, other candidates and slices between the two; the scaler's means by column."""
    metrics = {}
    slices = _numbered(part for part in facts.metrics["slice"].unique() if part != "all")
    for candidate, split, part, metric, value in facts.metrics.itertuples(index=False):
        between = [*([candidate] if candidate != facts.candidate else []), *([slices[part]] if part != "all" else [])]
        metrics["/".join((split, *between, metric))] = value
    means, _ = versions.load_scaler(con, facts.exposure.name, facts.made)
    columns = _numbered(means)
    return metrics | {f"scaler_mean/{columns[name]}": value for name, value in means.items()}


def _numbered(names: Iterable[str]) -> dict[str, str]:
    """Each name as MLflow takes it; names that would be one there, as `<20` and `>20`, are numbered."""
    named: dict[str, str] = {}
    for name in sorted(names):
        alike = sum(_named(other) == _named(name) for other in named)
        named[name] = f"{_named(name)}.{alike + 1}" if alike else _named(name)
    return named


def _named(name: str) -> str:
    """A name as MLflow takes it; the slice `income: under 25,000` becomes `income: under 25_000`, a long one is cut."""
    return re.sub(r"[^\w.\- :]", "_", name)[:NAME_LENGTH]


def _tags(facts: Facts) -> dict[str, str]:
    """Where a version comes from, for the run and the registered model."""
    version, consumption = facts.version, facts.consumption or {}
    tags = {
        VERSION: facts.version_id,
        "tract.exposure": facts.exposure.name,
        "tract.publication": version["publication_id"],
        "tract.relation": version["relation"],
        "tract.snapshot": version["snapshot_id"],
        "tract.fingerprint": version["fingerprint"],
        "tract.rows": version["row_count"],
        "tract.dbt_invocation": version["invocation_id"],
        "tract.code": version["code"],
        "tract.artifact_uri": version["artifact_uri"],
        "tract.artifact_sha256": version["artifact_sha256"],
        "tract.scaler_uri": version["scaler_uri"],
        "tract.scaler_sha256": version["scaler_sha256"],
        "tract.outcome": consumption.get("outcome"),
        "tract.reason": consumption.get("reason"),
        "tract.dagster_run": consumption.get("run_id"),
        "mlflow.source.git.commit": version["git_commit"],
    }
    return {name: str(value) for name, value in tags.items() if value is not None}


def _reason(error: BaseException) -> str:
    """Why a request failed, in the system's own words where there are some: three libraries wrap them."""
    words, inner = lake.first_line(error), error.__cause__ or error.__context__
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            words = inner.strerror
        elif isinstance(inner, TimeoutError):
            words = "timed out"
        inner = inner.__cause__ or inner.__context__
    return words if len(words) <= 200 else f"{words[:200]}…"


@contextmanager
def _client_settings(where: str, seconds: int, retries: int) -> Iterator[None]:
    """Set the address, the timeout in seconds and the retries of MLflow's client, which reads them at each request.

    They are set in the environment while the context lasts: `mlflow.set_tracking_uri` would set the address for good.
    """
    settings = {
        "MLFLOW_TRACKING_URI": where,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
