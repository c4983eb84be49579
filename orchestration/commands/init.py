"""`tract init`: what a dbt-duckdb project needs to be Tract's, as changes to its files that a person sees before.

The files are changed as text, line by line: comments, order and Jinja stay as they are.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ml.errors import TractError
from orchestration.profile import PLUGIN, places
from orchestration.settings import ParseError, read, rendered

PACKAGE = Path(__file__).resolve().parents[2] / "dbt_project" / "tract"
HOOK = "{{ tract.sign() }}"
TARGET = "tract"
NEXT = (
    "Next: dbt deps, tract up, then dbt build: it publishes the table that the exposure learns from, and with tract ui "
    "running it is learned from."
)


class InitError(TractError):
    """The project cannot be made ready by itself; the message says what to write where."""


@dataclass(frozen=True)
class Asked:
    """What the exposure learns from; without all three it is written as a comment."""

    model: str | None = None
    key: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Change:
    """A file as it shall be."""

    root: Path
    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """As `diff -u` says it; a new file is one that was empty."""
        name = os.path.relpath(self.path, self.root)
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, name if self.before else "/dev/null", name))

    def write(self) -> None:
        """Write it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.after, encoding="utf-8")


def plan(root: Path, asked: Asked) -> list[Change]:
    """What must change in a project; nothing where it is ready.

    Raises:
        InitError: There is no dbt project, or its profile is not dbt-duckdb's, or a file is not as it can be changed.
    """
    file = root / "dbt_project.yml"
    if not file.exists():
        raise InitError(f"{root} is no dbt project: it has no dbt_project.yml. Start one with `dbt init`, or name it.")
    settings = _yaml(file)
    profiles = _profiles_file(root, str(settings["profile"]))
    models = root / next(iter(settings.get("model-paths", ["models"])))
    made = _profile(profiles, str(settings["profile"]))
    wanted = {
        root / "packages.yml": _packages(root),
        file: _with_production(file, _hooked(file), _target(made, str(settings["profile"]))),
        profiles: made,
        root / ".gitignore": _ignored(root / ".gitignore"),
        **_exposure(models, asked),
    }
    changes = [Change(root, path, _text(path), after) for path, after in wanted.items()]
    return [change for change in changes if change.before != change.after]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        return read(path)
    except ParseError as error:
        raise InitError(str(error)) from None


def _packages(root: Path) -> str:
    """packages.yml with the package `tract`: the folder that is installed with this code."""
    file = root / "packages.yml"
    text, packages = _text(file), _yaml(file).get("packages") or []
    if any((root / str(package.get("local", ""))).resolve() == PACKAGE for package in packages):
        return text
    line = f"  - local: {os.path.relpath(PACKAGE, root)}\n"
    if not text.strip():
        return f"packages:\n{line}"
    return _below(file, text, r"^packages:[ \t]*$", line)


def _hooked(file: Path) -> str:
    """dbt_project.yml with the post-hook by which a publication finds the snapshot of a model's commit.

    It is written above the names of projects, so that it holds for the models of every package.
    """
    text = file.read_text(encoding="utf-8")
    models = _yaml(file).get("models") or {}
    if any(key in models for key in ("post-hook", "+post-hook", "post_hook", "+post_hook")):
        if "tract.sign()" in str(models):
            return text
        raise InitError(f'{file}: models have a post-hook already. Add "{HOOK}" to it, as a list of two.')
    comment = "# A publication is found by what this writes into the snapshot of each model's commit."
    lines = f'  {comment}\n  +post-hook: "{HOOK}"\n'
    if "models" in _yaml(file):
        return _below(file, text, r"^models:[ \t]*$", lines)
    return f"{text.rstrip()}\n\nmodels:\n{lines}"


def _target(profiles: str, name: str) -> str:
    """The target of a profile that enters the lake: of several the profile's own."""
    profile = yaml.safe_load(profiles)[name]
    enter = [str(target) for target, output in profile["outputs"].items() if PLUGIN in str(output)]
    return enter[0] if (own := rendered(str(profile.get("target", "")))) not in enter else own


def _with_production(file: Path, text: str, target: str) -> str:
    """dbt_project.yml with the variable that says which target is production, where it says none."""
    said = _yaml(file).get("vars") or {}
    if "production_target" in said:
        return text
    lines = (
        "  # Any other target's schemas and models carry its name, and it publishes where it says so.\n"
        f"  production_target: {target}\n"
    )
    if "vars" in _yaml(file):
        return _below(file, text, r"^vars:[ \t]*$", lines)
    return f"{text.rstrip()}\n\nvars:\n{lines}"


def _below(file: Path, text: str, heading: str, lines: str) -> str:
    """A text with lines below the one that a pattern finds."""
    found = re.search(heading, text, re.MULTILINE)
    if found is None:
        raise InitError(f"{file} has no line that is {heading}: write below it\n{lines}")
    return f"{text[: found.end()]}\n{lines}{text[found.end() + 1 :]}"


def _profiles_file(root: Path, name: str) -> Path:
    """Where dbt finds the profile; where it is nowhere, the file that is there, or the project's, which is made."""
    files = [place / "profiles.yml" for place in places(root)]
    there = [file for file in files if file.exists()]
    return next((file for file in there if name in _yaml(file)), there[0] if there else root / "profiles.yml")


def _profile(file: Path, name: str) -> str:
    """profiles.yml with a target `tract`, the lake, which is the one taken unless another is named."""
    text, profile = _text(file), _yaml(file).get(name)
    outputs = (profile or {}).get("outputs") or {}
    if any(PLUGIN in str(output) for output in outputs.values()):
        return text
    for target, output in outputs.items():
        if output.get("type") != "duckdb":
            raise InitError(
                f"{file}: target {target} of the profile {name} is of type {output.get('type')}. Tract runs on "
                "dbt-duckdb: make the project run there first."
            )
    schema = next((str(output["schema"]) for output in outputs.values() if "schema" in output), "main")
    lake = _LAKE.format(schema=schema)
    if profile is None:
        return f"{text.rstrip()}\n\n{name}:\n  target: {TARGET}\n  outputs:\n{lake}".lstrip()
    begin = re.search(rf"^{re.escape(name)}:[ \t]*$", text, re.MULTILINE)
    after = text[begin.end() :] if begin else ""
    target = re.search(r"^( +)target:[^\n]*$", after, re.MULTILINE)
    heading = re.search(r"^( +)outputs:[ \t]*$", after, re.MULTILINE)
    if begin is None or heading is None:
        raise InitError(f"{file}: the profile {name} has no line `outputs:`. Write below it\n{lake}")
    extra = " " * (len(heading[1]) - 2)
    lines = "".join(f"{extra}{line}" for line in lake.splitlines(keepends=True))
    changed = f"{after[: heading.end()]}\n{lines}{after[heading.end() + 1 :]}"
    if target is not None:
        changed = changed.replace(target[0], f"{target[1]}target: {TARGET}", 1)
    return text[: begin.end()] + changed


# Indented as below a profile's `outputs:`.
_LAKE = """\
    # The lake: where it is and how to enter it, the plugin knows; no credential stands here.
    tract:
      type: duckdb
      path: ":memory:"
      database: lake
      schema: {schema}
      threads: 1  # DuckDB works on every core; with two of dbt's, DuckLake now and then fails to commit
      extensions: [httpfs, ducklake, postgres_scanner]
      attach:
        - path: "ducklake:tract"
          alias: lake
      plugins:
        - module: dbt_project.tract.plugin
          alias: tract
"""


def _ignored(file: Path) -> str:
    """.gitignore with what dbt and the local stack leave in the project."""
    text = _text(file)
    missing = [name for name in (".lake/", "dbt_packages/", "target/", "logs/") if name not in text.split()]
    return text if not missing else "".join([f"{text.rstrip()}\n".lstrip(), *(f"{name}\n" for name in missing)])


def _exposure(models: Path, asked: Asked) -> dict[Path, str]:
    """The file with an exposure, unless some file of the project has one of `type: ml`."""
    for file in sorted([*models.rglob("*.yml"), *models.rglob("*.yaml")]):
        if any(exposure.get("type") == "ml" for exposure in _yaml(file).get("exposures") or []):
            return {}
    named = asked.model is not None and asked.key is not None and asked.target is not None
    text = _EXPOSURE.format(
        model=asked.model or "my_features", key=asked.key or "my_key", target=asked.target or "my_target"
    )
    if not named:
        text = "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())
        text = f"# Name your own table and columns, and take the marks at the beginning of each line away.\n{text}"
    return {models / "tract.yml": text}


_EXPOSURE = """\
# A model that is asked for. It is learned whenever {model} was built and every test on it that can fail has passed;
# {model} needs a contract (`contract: {{enforced: true}}`), and a test `unique` on {key} is a good idea.
exposures:
  - name: {model}_{target}
    type: ml
    description: What {target} is likely to be, learned from {model}.
    owner:
      name: Someone
      email: someone@example.com
    depends_on:
      - ref('{model}')
    config:
      meta:
        ml:
          key: {key}        # identifies a row; predictions carry it
          target: {target}  # what is predicted; every other column is a feature
          candidates:       # the best of them serves, if it beats the mean
            - ridge
            - gradient_boosting

# Its predictions, as a mart of yours reads them: select * from {{{{ tract.predictions('{model}_{target}') }}}}
sources:
  - name: ml
    database: lake
    schema: ml
    tables:
      - name: predictions
        description: One row per exposure, publication, version and key.
      - name: heldout_predictions
        description: One row per exposure, version, candidate, split and key, by a model that had not seen the row.
"""
