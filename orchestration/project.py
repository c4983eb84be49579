"""The dbt project as Dagster sees it: where it is, and its manifest, parsed anew when a file or setting has changed.

Which project is meant, `ml.code.project` says; which profile, `profile`.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml import code, environments, lake
from ml.errors import TractError
from ml.exposures import Exposure
from ml.manifest import read_exposures
from orchestration import contents, profile, settings
from orchestration.settings import ParseError

ROOT = code.project()
# Apart from target/, which a person's own dbt commands rewrite at any moment.
TARGET = lake.home() / "dbt"


class ExposureError(TractError):
    """It is not clear which exposure is meant; the message says which there are."""


def there() -> tuple[str, ...]:
    """The project, its profile and its target, as arguments of dbt."""
    return ("--project-dir", str(ROOT), *profile.find(ROOT).arguments)


def production_target() -> str | None:
    """The target that is production, as the project's variable says; None where it says none, and every target is."""
    said = (settings.read(ROOT / "dbt_project.yml").get("vars") or {}).get("production_target")
    return None if said is None else str(said)


def lake_environment() -> str:
    """The environment of the lake that is meant: the target's name, empty in production.

    Raises:
        EnvironmentNameError: The target's name cannot stand before names of the lake.
    """
    return environments.of_target(profile.find(ROOT).target or "", production_target())


def manifest() -> Mapping[str, Any]:
    """Dbt's manifest of the project as it is now, with `environment`.

    Raises:
        EnvironmentNameError, ParseError: dbt does not parse it.
    """
    _there()
    path, made_of = TARGET / "manifest.json", TARGET / "made_of.json"
    TARGET.mkdir(parents=True, exist_ok=True)
    with (TARGET / "parse.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # webserver, daemon and runs may load at once
        install_packages()
        content = _read(path)
        if content is None or differs():
            now = _contents()  # before dbt reads: what changes meanwhile is parsed by the next who asks
            made_of.unlink(missing_ok=True)
            _parse()
            now["environment"] = contents.asked(now["files"], TARGET / "partial_parse.msgpack")
            made_of.write_text(json.dumps(now, indent=1))
            content = _read(path)
    if content is None:
        raise ParseError(f"dbt has left no manifest in {TARGET}, or none that can be read: is its disk full?")
    return {**content, "environment": lake_environment()}


def _read(path: Path) -> Mapping[str, Any] | None:
    """A file of JSON; None where there is none, or it was torn."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def differs() -> bool:
    """Whether the project, or a setting that it asks for, is not what the manifest was made of.

    Raises:
        ParseError: A file of settings is no YAML.
    """
    try:
        made_of = json.loads((TARGET / "made_of.json").read_text())
    except (FileNotFoundError, ValueError):  # a parse was cut off
        return True
    names = made_of.pop("environment")
    return bool(made_of != _contents() or names != contents.environment(names))


def identity() -> str:
    """12 digits that are others when a file that dbt reads is another, as the project is now.

    Raises:
        ParseError: A file of settings is no YAML.
    """
    return _identity(contents.read(ROOT, profile.find(ROOT).directory))


def loaded() -> str:
    """The same, of what the manifest was made of."""
    return _identity(json.loads((TARGET / "made_of.json").read_text()))


def _identity(read: Mapping[str, Any]) -> str:
    said = {name: read[name] for name in ("files", "versions")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def _contents() -> dict[str, Any]:
    return {"arguments": list(there()), **contents.read(ROOT, profile.find(ROOT).directory)}


def exposures() -> tuple[Exposure, ...]:
    """The models that the project asks for.

    Raises:
        ParseError: dbt does not parse the project.
        SpecError: An exposure does not fit its table.
    """
    return read_exposures(manifest())


def exposure(name: str) -> Exposure:
    """The exposure of that name, in dbt or in the lake, or, where none is named, the only one.

    Raises:
        ExposureError: There is none of that name, or none is named and there are several.
        ParseError, SpecError: As `exposures`.
    """
    found = {exposure.name: exposure for exposure in exposures()}
    if not name and len(found) == 1:
        return next(iter(found.values()))
    for one in found.values():
        if name in (one.name, one.name_in_dbt):
            return one
    what = f"{name} is no exposure of the project {ROOT}" if name else f"The project {ROOT} has not one exposure alone"
    raise ExposureError(f"{what}. Of type ml there are: {', '.join(found) or 'none'}. Name one.")


def environment() -> dict[str, str]:
    """The environment of a process that shall mean the same project, wherever it runs."""
    theirs = {f"{prefix}{name}" for name in profile.NAMES for prefix in ("DBT_", "DBT_ENGINE_")}
    rest = {name: value for name, value in os.environ.items() if name not in theirs}
    return {**rest, "DBT_PROJECT_DIR": str(ROOT), **profile.find(ROOT).variables}


def install_packages() -> None:
    """Install the project's dbt packages, if ours is not among them: `dbt deps`, which for a local package is a link.

    Raises:
        ParseError: There is no project, or dbt cannot.
    """
    _there()
    if (ROOT / "packages.yml").exists() and not (contents.packages(ROOT) / "tract").exists():
        _dbt("deps", *there())


def _there() -> None:
    if not (ROOT / "dbt_project.yml").exists():
        raise ParseError(
            f"{ROOT} has no dbt_project.yml. DBT_PROJECT_DIR must name the directory of a dbt project; without it, the "
            "project is the checkout that Tract runs from."
        )


def _parse() -> None:
    # whole: dbt's partial parsing takes a YAML file of the same time for the same file
    _dbt("parse", *there(), "--no-partial-parse", "--target-path", str(TARGET))


def _dbt(*arguments: str) -> None:
    dbt = Path(sys.executable).with_name("dbt")
    # a service may read the project, and not write there
    ours = ("--no-use-colors", "--log-path", str(TARGET))
    told = subprocess.run([str(dbt), *ours, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if told.returncode:
        raise ParseError(f"dbt cannot parse the project:\n{told.stdout.strip()}")
