"""What dbt makes a manifest of, by content. Times say nothing: files come by rsync, git or tar with those of others.

dbt's own partial parsing takes a YAML file of the same time for the same file, so what has changed is parsed whole.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgpack

from orchestration import settings

# Where dbt looks for what, when a dbt_project.yml does not say.
PATHS = {
    "model": ["models"],
    "macro": ["macros"],
    "test": ["tests"],
    "seed": ["seeds"],
    "snapshot": ["snapshots"],
    "analysis": ["analyses"],
    "function": ["functions"],
    "docs": [],  # the others
}
SUFFIXES = (".sql", ".py", ".yml", ".yaml", ".md", ".csv")
# Beside dbt_project.yml; dbt reads those that are there.
SETTINGS = ("dbt_project.yml", "packages.yml", "dependencies.yml", "package-lock.yml", "selectors.yml", ".dbtignore")
# dbt looks at no larger seed before it loads it.
LARGE = 1024 * 1024
LIBRARIES = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb")


def read(root: Path, profiles: Path) -> dict[str, Any]:
    """sha256 of each file that a manifest is made of, and the versions of what makes it.

    Args:
        root: The project.
        profiles: Where its profiles.yml is.

    Raises:
        ParseError: A dbt_project.yml is no YAML.
    """
    files = dict.fromkeys([profiles / "profiles.yml", *_files(root)])
    return {
        "files": {str(path): _hash(path) for path in files if path.is_file()},
        "versions": {library: version(library) for library in LIBRARIES},
    }


def packages(root: Path) -> Path:
    """Where dbt installs a project's packages."""
    said = settings.read(root / "dbt_project.yml").get("packages-install-path", "dbt_packages")
    return root / settings.rendered(str(said))


def asked(files: Mapping[str, str], parsed: Path) -> dict[str, str | None]:
    """sha256 of each environment variable that dbt asks for, by name; None where it is not set.

    Args:
        files: As of `read`.
        parsed: dbt's partial_parse.msgpack, which has the names that no text shows.
    """
    named = {
        name
        for file in files
        if not file.endswith(".csv")
        for name in re.findall(r"env_var\(\s*['\"]([^'\"]+)['\"]", Path(file).read_text(errors="replace"))
    }
    if parsed.exists():
        named |= set(msgpack.unpackb(parsed.read_bytes(), strict_map_key=False).get("env_vars", ()))
    return environment(named)


def environment(names: Iterator[str] | set[str] | Mapping[str, Any]) -> dict[str, str | None]:
    """sha256 of each environment variable, which may be a secret; None where it is not set."""
    said = {name: os.environ.get(name) for name in sorted(names)}
    return {name: None if value is None else _digest(value.encode()) for name, value in said.items()}


def _files(root: Path) -> Iterator[Path]:
    """The files of the project and of its packages."""
    for project in (root, *(path.resolve() for path in sorted(packages(root).glob("*")))):
        if not (project / "dbt_project.yml").exists():
            continue
        yield from (project / name for name in SETTINGS)
        said = settings.read(project / "dbt_project.yml")
        for kind, usual in PATHS.items():
            for place in said.get(f"{kind}-paths") or usual:
                for folder, _, names in os.walk(project / settings.rendered(str(place))):
                    yield from (Path(folder, name) for name in sorted(names) if name.lower().endswith(SUFFIXES))


def _hash(path: Path) -> str:
    if path.suffix == ".csv" and path.stat().st_size > LARGE:
        return "large"
    return _digest(path.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
