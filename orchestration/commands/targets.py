"""`tract run --target pr_41 --once`: a branch built in a target of its own, and judged; and `tract remove`.

No Dagster takes part. What the branch did not change is read where production has it, by dbt's own `--defer`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.text import Text

from ml import environments, lake
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake import state
from ml.lake.locks import this_process
from ml.manifest import read_exposures
from ml.records import champions, consumptions, findings, publications
from orchestration import profile, project, settings

REFUSED = 3  # the exit code


class TargetError(TractError):
    """The target cannot be used so, or the build did not come to its end; the message says why."""


class RefusedError(click.ClickException):
    """The gate refused what was learned."""

    exit_code = REFUSED


@dataclass(frozen=True)
class Judged:
    """What came of an exposure.

    Attributes:
        passed: Whether the gate promoted it, or there was nothing new to judge.
        said: Why, in words.
    """

    passed: bool
    said: str


def once(target: str) -> None:
    """Build in the target, learn from what was published there, and say what production's gate makes of it.

    Raises:
        TargetError: The target is production, the build failed, or what an exposure asks for could not be learned.
        RefusedError: The gate refused what an exposure learned.
        TractError: As those whom it calls.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    environment = named(target)
    lake.check()
    place = folder(environment)
    invocation, manifest = build(console, environment, place)
    outcomes: dict[str, Judged] = {}
    failed: list[str] = []
    for exposure in read_exposures(manifest):
        try:
            outcomes[exposure.name] = judge(exposure, invocation, console)
        except TractError as error:
            failed.append(f"{exposure.name}: {error}")
    refused = [name for name, judged in outcomes.items() if not judged.passed]
    console.print(Text("\nWhat the gate says", "bold"))
    for name, judged in outcomes.items():
        word = ("passed", "green") if judged.passed else ("refused", "red")
        console.print(Text.assemble("  ", word, f"  {name}: {judged.said}"), soft_wrap=True)
    console.print(f"  tract remove --target {environment} takes all of it away again.", soft_wrap=True)
    if failed:
        raise TargetError("\n".join(failed))
    if refused:
        raise RefusedError(f"The gate refused what {', '.join(refused)} learned.")


def named(target: str) -> str:
    """The environment of a target that is not production.

    Raises:
        TargetError: The target is production, or the project does not say which target that is.
        EnvironmentNameError: The target's name cannot stand before names of the lake.
    """
    production = project.production_target()
    if production is None:
        raise TargetError(
            f"{project.ROOT / 'dbt_project.yml'} does not say which target is production. Write the variable "
            f"`production_target` below `vars:`, such as `production_target: {profile.find(project.ROOT).target}`."
        )
    environment = environments.of_target(target, production)
    if environment == environments.PRODUCTION:
        raise TargetError(f"{target} is production (production_target in dbt_project.yml). Name another target.")
    return environment


def folder(environment: str) -> Path:
    """Where the files of a target's builds are: its profile, production's manifest, dbt's own."""
    return lake.home() / "targets" / environment


def build(console: Console, environment: str, place: Path) -> tuple[str, Mapping[str, Any]]:
    """Build what the branch changed, and what is built from that; dbt's invocation, and the manifest of what is read.

    In the manifest, what was not built here has production's schema, as dbt read it there.

    Raises:
        TargetError: dbt failed, and has said why.
    """
    shutil.rmtree(place / "state", ignore_errors=True)
    (place / "state").mkdir(parents=True)
    write_profile(environment, place)
    with lake.connect() as con:
        production = state.read(con)
    deferring: Sequence[str] = ()
    if production is None:
        console.print("Production has kept no manifest yet: all models are built.")
    else:
        (place / "state" / "manifest.json").write_bytes(production)
        deferring = ("--select", "state:modified+", "--defer", "--favor-state", "--state", str(place / "state"))
    project.install_packages()
    # what an earlier build left says nothing of this one
    (place / "target" / "run_results.json").unlink(missing_ok=True)
    dbt = [str(Path(sys.executable).with_name("dbt")), "build", "--project-dir", str(project.ROOT)]
    places = ["--target-path", str(place / "target"), "--log-path", str(place / "logs")]
    ended = subprocess.run(
        [*dbt, *places, *deferring], cwd=project.ROOT, env=_environment(environment, place), check=False
    )
    if ended.returncode:
        raise TargetError(f"The build in {environment} failed, and dbt has said why: nothing was learned.")
    manifest, results = (json.loads((place / "target" / f"{name}.json").read_text()) for name in _ARTIFACTS)
    built = {result["unique_id"] for result in results["results"]}
    theirs = json.loads(production)["nodes"] if production else {}
    nodes = {
        unique_id: {**node, **({} if unique_id in built else _where(theirs.get(unique_id, node)))}
        for unique_id, node in manifest["nodes"].items()
    }
    return results["metadata"]["invocation_id"], {**manifest, "nodes": nodes, "environment": environment}


_ARTIFACTS = ("manifest", "run_results")


def _where(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: node[name] for name in ("database", "schema", "alias") if name in node}


def _environment(environment: str, place: Path) -> dict[str, str]:
    said = project.environment()
    return {
        **said,
        "DBT_PROFILES_DIR": str(place),
        "DBT_PROFILE": profile.find(project.ROOT).name,
        "DBT_TARGET": environment,
    }


def write_profile(environment: str, place: Path) -> None:
    """Write the profile of the target, which publishes: the project's own, or production's where it has none.

    Raises:
        TargetError: The profile has neither.
    """
    found = profile.find(project.ROOT)
    outputs = settings.read(found.directory / "profiles.yml").get(found.name, {}).get("outputs") or {}
    output = outputs.get(environment) or outputs.get(project.production_target())
    if output is None or profile.PLUGIN not in str(output):
        raise TargetError(
            f"The profile {found.name} in {found.directory / 'profiles.yml'} has no target that enters the lake by the "
            f"name of {environment} or {project.production_target()}, as production_target says."
        )
    plugins = [
        {**plugin, "config": {**(plugin.get("config") or {}), "publish": True}}
        if plugin.get("module") == profile.PLUGIN
        else plugin
        for plugin in output["plugins"]
    ]
    written = {found.name: {"target": environment, "outputs": {environment: {**output, "plugins": plugins}}}}
    (place / "profiles.yml").write_text(yaml.safe_dump(written), encoding="utf-8")


def judge(exposure: Exposure, invocation: str, console: Console) -> Judged:
    """Learn from the newest publication of the exposure's table, production's champion defending; what came of it.

    Raises:
        TargetError: The table was never published, or was built now and is not published.
        TractError: As `ml.consumption.consume`.
    """
    from ml.consumption import consume

    production = replace(exposure, name=exposure.name_in_dbt)
    with lake.connect() as con:
        newest = publications.newest(con, exposure.relation)
        own = exposure.relation.startswith(environments.schema_prefix(exposure.environment))
        if newest is None or (own and newest.invocation_id != invocation):
            raise TargetError(
                f"{exposure.relation}, which {exposure.name} learns from, is not published: dbt has said why."
            )
        if judged := consumptions.judged(con, production, newest.input_hash(production)):
            return Judged(True, f"as in production, where {judged.version_id} came of the same rows, spec and code")
    made = consume(
        exposure,
        retry=True,  # what was left as failed
        against=production.name,
        say=lambda sentence: console.print(f"     {sentence}", soft_wrap=True),
    )
    publication_id = (made.publication if made else newest).publication_id
    with lake.connect() as con:
        row = consumptions.of(con, exposure.name, publication_id)
        assert row is not None, f"{publication_id} is consumed"
        serving = champions.champion(con, production.name)
        promoted = row["version_id"] and findings.promotions(con, exposure.name, row["version_id"])
    said = f"{row['outcome']} {row['version_id']} from {publication_id}: {row['reason']}"
    beside = (
        f"production's champion is {serving.version_id} ({serving.candidate})" if serving else "production has none"
    )
    return Judged(bool(promoted), f"{said}; {beside}")


def remove(target: str, yes: bool) -> None:
    """Remove what the lake, and this home, hold of a target.

    Raises:
        TargetError: It is production.
        RemovalError: The lake holds nothing of it.
    """
    from ml import removal

    environment = named(target)
    if not yes:
        click.confirm(f"Remove all schemas, rows and files of the target {environment}?", abort=True)
    removed = removal.remove(environment, by=this_process(), say=click.echo)
    shutil.rmtree(folder(environment), ignore_errors=True)
    click.echo(
        f"Removed {environment}: schemas {', '.join(removed.schemas) or 'none'}; {removed.rows:,} rows of "
        f"{', '.join(removed.exposures) or 'no exposure'}."
    )
