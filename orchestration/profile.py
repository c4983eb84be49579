"""Which profile and target of dbt's are meant: one that enters the lake. What Dagster runs is told both.

A shell may have dbt's variables set for another project: inside Dagster, its profiles would be looked for in vain, long
after the shell is closed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration import settings

PLUGIN = "dbt_project.tract.plugin"  # what a target has that enters the lake
NAMES = ("PROJECT_DIR", "PROFILES_DIR", "PROFILE", "TARGET")


@dataclass(frozen=True)
class Profile:
    """A profile of dbt's.

    Attributes:
        directory: Where its profiles.yml is.
        target: None where no target enters the lake: dbt says what it finds.
        ignored: A sentence for each variable of the environment that is another project's.
    """

    directory: Path
    name: str
    target: str | None
    ignored: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """For dbt's command line."""
        target = ("--target", self.target) if self.target else ()
        return ("--profiles-dir", str(self.directory), "--profile", self.name, *target)

    @property
    def variables(self) -> dict[str, str]:
        """For the environment of a process that shall mean the same."""
        target = {"DBT_TARGET": self.target} if self.target else {}
        return {"DBT_PROFILES_DIR": str(self.directory), "DBT_PROFILE": self.name, **target}


def places(root: Path) -> list[Path]:
    """Where dbt looks for profiles.yml: `DBT_PROFILES_DIR`, the project, the user's home."""
    said = _said("PROFILES_DIR")
    return [*([Path(said).resolve()] if said else []), root, Path.home() / ".dbt"]


def find(root: Path) -> Profile:
    """The profile of a project: what the environment names, if that enters the lake; otherwise the project's own.

    Raises:
        ParseError: A file of settings is no YAML.
    """
    own = settings.rendered(str(settings.read(root / "dbt_project.yml").get("profile", "")))
    names = list(dict.fromkeys(name for name in (_said("PROFILE"), own) if name))
    for name in names:
        for directory in places(root):
            profile = settings.read(directory / "profiles.yml").get(name)
            if target := _target(profile):
                return Profile(directory, name, target, _ignored(directory, name, target))
    return Profile(places(root)[0], names[0] if names else "", _said("TARGET"), ())


def _target(profile: Mapping[str, Any] | None) -> str | None:
    """The target that enters the lake: of several, the one that is asked for; None where none does."""
    outputs = (profile or {}).get("outputs") or {}
    enter = [str(name) for name, output in outputs.items() if PLUGIN in str(output)]
    asked = (_said("TARGET"), settings.rendered(str((profile or {}).get("target", "default"))))
    return next((name for name in asked if name in enter), enter[0] if enter else None)


def _ignored(directory: Path, name: str, target: str) -> tuple[str, ...]:
    used = {"PROFILES_DIR": str(directory), "PROFILE": name, "TARGET": target}
    said = {setting: _said(setting) for setting in used}
    if said["PROFILES_DIR"]:
        said["PROFILES_DIR"] = str(Path(said["PROFILES_DIR"]).resolve())
    return tuple(
        f"DBT_{setting} is {said[setting]}, which has nothing that enters the lake: {value} is used "
        f"({directory / 'profiles.yml'})."
        for setting, value in used.items()
        if said[setting] and said[setting] != value
    )


def asked_target() -> str | None:
    """The target that the environment asks for, whether there is one or not."""
    return _said("TARGET")


def _said(setting: str) -> str | None:
    return os.environ.get(f"DBT_ENGINE_{setting}") or os.environ.get(f"DBT_{setting}") or None
