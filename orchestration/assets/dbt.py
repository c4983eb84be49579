"""dbt's models as assets, in two steps: what is learned from, and what reads predictions."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from packaging.version import Version
from sqlglot.errors import SqlglotError

from ml import lake
from ml.lake.sql import quoted
from orchestration import profile
from orchestration.assets import columns
from orchestration.assets.translator import ML_SOURCES, Translator
from orchestration.project import ROOT, TARGET

# Everything that reads the tables of ml and ops, their own tests with it: the consumer's part of the project.
AFTER_LEARNING = " ".join(f"source:{source}+" for source in ML_SOURCES)


# Of a failed build's nodes, how many are named, and the length of what is told of each.
SHOWN, LENGTH = 3, 400

meant = profile.find(ROOT)
project = DbtProject(
    project_dir=ROOT, profiles_dir=meant.directory, profile=meant.name, target=meant.target, target_path=TARGET
)


class Dbt(DbtCliResource):
    """Runs dbt without the two things that dagster-dbt does before each command, 6 s together, and we do not use."""

    def __init__(self, **settings: Any) -> None:
        # this environment's dbt: PATH may hold none when the environment is not activated, or another
        dbt = str(Path(sys.executable).with_name("dbt"))
        super().__init__(**{"dbt_executable": dbt, "project_dir": project, **settings})

    @cached_property
    def _cli_version(self) -> Version:
        # not from `dbt --version`, a process of 2 s: the installed package is the one that runs
        return Version(installed_version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        # no connection of Dagster's own beside dbt's: rows are counted through ml.lake
        return None


def producer_models(manifest: Mapping[str, Any], translator: Translator) -> dg.AssetsDefinition:
    """The models up to the features, and whatever else does not read predictions."""
    return _models("producer_models", manifest, translator, exclude=AFTER_LEARNING)


def consumer_models(manifest: Mapping[str, Any], translator: Translator) -> dg.AssetsDefinition:
    """The models that read predictions: marts, monitoring, exports."""
    return _models("consumer_models", manifest, translator, select=AFTER_LEARNING)


def _models(
    name: str, manifest: Mapping[str, Any], translator: Translator, select: str = "fqn:*", exclude: str = ""
) -> dg.AssetsDefinition:
    @dbt_assets(
        name=name,
        manifest=manifest,
        project=project,
        select=select,
        exclude=exclude,
        dagster_dbt_translator=translator,
    )
    def build(context: dg.AssetExecutionContext, dbt: Dbt) -> Iterator[Any]:
        yield from _build(context, dbt, manifest, translator)

    return build


def _build(
    context: dg.AssetExecutionContext, dbt: Dbt, manifest: Mapping[str, Any], translator: Translator
) -> Iterator[Any]:
    os.environ["TRACT_BUILT_BY"] = built_by(context.run_id)  # read by dbt's process, below this one
    invocation = dbt.cli(["build"], context=context)
    try:
        with lake.connect() as con:  # while dbt starts
            for event in invocation.stream():
                if isinstance(event, dg.Output):
                    node = manifest["nodes"][event.metadata["unique_id"].value]
                    lineage = _lineage(context, con, node, manifest, translator, invocation.target_path)
                    yield event.with_metadata({**event.metadata, **_rows(con, node), **lineage})
                else:
                    yield event
    except DagsterDbtCliRuntimeError as error:
        # its message begins with the command; a person needs what went wrong, and finds the rest below
        raise dg.Failure(failure(_results(invocation), str(error)), {"dbt": _plain(str(error))}) from None


def built_by(run_id: str) -> str:
    """Who built, to someone who waits for the build lock or reads ops.publications."""
    return f"dagster run {run_id}"


def failure(results: Sequence[Mapping[str, Any]], message: str) -> str:
    """Why a build failed, in a sentence: what dbt says of the nodes that did, or of why it could not begin.

    Args:
        results: Of dbt's run_results.json; none when it did not come that far.
        message: dagster-dbt's, which ends with the errors that dbt printed.
    """
    failed = [result for result in results if result["status"] in ("error", "fail", "runtime error")]
    if not failed:
        _, _, printed = message.partition("Errors parsed from dbt logs:")
        return _one_line(printed or message)
    told = [f"{result['unique_id'].split('.')[2]}: {_one_line(result['message'] or '')}" for result in failed[:SHOWN]]
    more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return f"{len(failed)} of {len(results)} nodes failed. {'; '.join(told)}{more}"


def _one_line(text: str) -> str:
    words = " ".join(_plain(text).split())
    return words if len(words) <= LENGTH else f"{words[:LENGTH]}…"


def _plain(text: str) -> str:
    """Without the colours that dbt gives to terminals."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _results(invocation: DbtCliInvocation) -> Sequence[Mapping[str, Any]]:
    try:
        found: Sequence[Mapping[str, Any]] = invocation.get_artifact("run_results.json")["results"]
    except FileNotFoundError:
        return []
    return found


def _rows(con: duckdb.DuckDBPyConnection, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rows of the table just built, as metadata; none of a view, which would be computed."""
    if node["config"]["materialized"] == "view":
        return {}
    try:
        row = con.execute(f"select count(*) from lake.{quoted(node['schema'])}.{quoted(node['alias'])}").fetchone()
    except duckdb.CatalogException:  # an export without rows is not written
        return {}
    assert row is not None
    return {"dagster/row_count": int(row[0])}


def _lineage(
    context: dg.AssetExecutionContext,
    con: duckdb.DuckDBPyConnection,
    node: Mapping[str, Any],
    manifest: Mapping[str, Any],
    translator: Translator,
    target: Path,
) -> Mapping[str, Any]:
    """Where the columns just built come from; a warning where the SQL is beyond sqlglot, which decides nothing."""
    try:
        return columns.lineage(con, node, manifest, translator, target)
    except (SqlglotError, ValueError) as error:
        context.log.warning(f"{node['name']}: where its columns come from cannot be read from its SQL: {error}")
        return {}
