"""The dbt project as Dagster sees it: where it is, and its manifest, parsed anew when a file or setting has changed.

Which project is meant, dbt's own settings say: `DBT_PROJECT_DIR`, or this checkout; `DBT_PROFILES_DIR`, or the project.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ml import code, lake
from ml.errors import TractError
from ml.exposures import Exposure, read_exposures

ROOT = code.project()
PROFILES = Path(os.environ.get("DBT_PROFILES_DIR") or ROOT).resolve()
# As arguments of dbt.
THERE = ("--project-dir", str(ROOT), "--profiles-dir", str(PROFILES))
# Apart from target/, which a person's own dbt commands rewrite at any moment.
TARGET = lake.home() / "dbt"

# Where dbt looks for what, when a dbt_project.yml does not say.
PATHS = {
    "model": ["models"],
    "macro": ["macros"],
    "test": ["tests"],
    "seed": ["seeds"],
    "snapshot": ["snapshots"],
    "analysis": ["analyses"],
}


class ParseError(TractError):
    """dbt cannot parse the project; the message is dbt's own."""


class ExposureError(TractError):
    """It is not clear which exposure is meant; the message says which there are."""


def manifest() -> Mapping[str, Any]:
    """Dbt's manifest of the project as it is now.

    Raises:
        ParseError: dbt does not parse it.
    """
    _there()
    path = TARGET / "manifest.json"
    TARGET.mkdir(parents=True, exist_ok=True)
    with (TARGET / "parse.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # webserver, daemon and runs may load at once
        install_packages()
        settings, parsed_with = json.dumps(_settings(), sort_keys=True), TARGET / "settings.json"
        if (
            not path.exists()
            or path.stat().st_mtime < max(source.stat().st_mtime for source in _sources())
            or not parsed_with.exists()
            or parsed_with.read_text() != settings
        ):
            _parse()
            parsed_with.write_text(settings)
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def exposures() -> tuple[Exposure, ...]:
    """The models that the project asks for.

    Raises:
        ParseError: dbt does not parse the project.
        SpecError: An exposure does not fit its table.
    """
    return read_exposures(manifest())


def exposure(name: str) -> Exposure:
    """The exposure of that name, or, where none is named, the only one.

    Raises:
        ExposureError: There is none of that name, or none is named and there are several.
        ParseError, SpecError: As `exposures`.
    """
    found = {exposure.name: exposure for exposure in exposures()}
    if not name and len(found) == 1:
        return next(iter(found.values()))
    if name in found:
        return found[name]
    what = f"{name} is no exposure of the project {ROOT}" if name else f"The project {ROOT} has not one exposure alone"
    raise ExposureError(f"{what}. Of type ml there are: {', '.join(found) or 'none'}. Name one.")


def environment() -> dict[str, str]:
    """The environment of a process that shall mean the same project, wherever it runs."""
    return {**os.environ, "DBT_PROJECT_DIR": str(ROOT), "DBT_PROFILES_DIR": str(PROFILES)}


def install_packages() -> None:
    """Install the project's dbt packages, if ours is not among them: `dbt deps`, which for a local package is a link.

    Raises:
        ParseError: There is no project, or dbt cannot.
    """
    _there()
    if (ROOT / "packages.yml").exists() and not (ROOT / "dbt_packages" / "tract").exists():
        _dbt("deps", *THERE)


def _there() -> None:
    if not (ROOT / "dbt_project.yml").exists():
        raise ParseError(
            f"{ROOT} has no dbt_project.yml. DBT_PROJECT_DIR must name the directory of a dbt project; without it, the "
            "project is the checkout that Tract runs from."
        )


def _sources() -> Iterator[Path]:
    """The files that a manifest is made from: the project's, and those of its packages."""
    yield from (path for path in (PROFILES / "profiles.yml", ROOT / "packages.yml") if path.exists())
    for project in (ROOT, *(path.resolve() for path in sorted((ROOT / "dbt_packages").glob("*")))):
        said = project / "dbt_project.yml"
        if not said.exists():
            continue
        yield said
        settings = yaml.safe_load(said.read_text(encoding="utf-8"))
        for kind, usual in PATHS.items():
            for place in settings.get(f"{kind}-paths", usual):
                for path in (project / place).rglob("*"):
                    if path.suffix in (".sql", ".yml", ".yaml", ".py", ".md", ".csv"):
                        yield path


def _settings() -> dict[str, Any]:
    """What a manifest depends on beside the files' contents: their names, and the environment variables asked for."""
    sources = sorted(_sources())
    read = [source.read_text(encoding="utf-8") for source in sources if source.suffix != ".csv"]
    asked = {name for text in read for name in re.findall(r"env_var\(['\"](\w+)", text)}
    return {
        "files": [str(source) for source in sources],
        "environment": {name: os.environ.get(name) for name in asked},
    }


def _parse() -> None:
    _dbt("parse", *THERE, "--target-path", str(TARGET))


def _dbt(*arguments: str) -> None:
    dbt = Path(sys.executable).with_name("dbt")
    told = subprocess.run(
        [str(dbt), "--no-use-colors", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if told.returncode:
        raise ParseError(f"dbt cannot parse the project:\n{told.stdout.strip()}")
