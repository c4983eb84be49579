"""The dbt project as Dagster sees it: where it is, and its manifest, parsed anew when a file or setting has changed."""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml import lake
from ml.errors import TractError

ROOT = Path(__file__).resolve().parents[1]
# Apart from target/, which a person's own dbt commands rewrite at any moment.
TARGET = lake.home() / "dbt"


class ParseError(TractError):
    """dbt cannot parse the project; the message is dbt's own."""


def manifest() -> Mapping[str, Any]:
    """Dbt's manifest of the project as it is now.

    Raises:
        ParseError: dbt does not parse it.
    """
    path = TARGET / "manifest.json"
    TARGET.mkdir(parents=True, exist_ok=True)
    with (TARGET / "parse.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # webserver, daemon and runs may load at once
        settings, parsed_with = json.dumps(_settings(), sort_keys=True), TARGET / "settings.json"
        if (
            not path.exists()
            or path.stat().st_mtime < max(source.stat().st_mtime for source in _sources())
            or not parsed_with.exists()
            or parsed_with.read_text() != settings
        ):
            _parse()
            parsed_with.write_text(settings)
    content: Mapping[str, Any] = json.loads(path.read_text())
    return content


def _sources() -> Iterator[Path]:
    yield from (ROOT / "dbt_project.yml", ROOT / "profiles.yml")
    for path in (ROOT / "dbt_project").rglob("*"):
        if path.suffix in (".sql", ".yml", ".yaml", ".py", ".md"):
            yield path


def _settings() -> dict[str, Any]:
    """What a manifest depends on beside the files' contents: their names, and the environment variables asked for."""
    sources = sorted(_sources())
    asked = {name for source in sources for name in re.findall(r"env_var\(['\"](\w+)", source.read_text())}
    return {
        "files": [str(source.relative_to(ROOT)) for source in sources],
        "environment": {name: os.environ.get(name) for name in asked},
    }


def _parse() -> None:
    dbt = Path(sys.executable).with_name("dbt")
    command = [str(dbt), "--no-use-colors", "parse", "--project-dir", str(ROOT), "--profiles-dir", str(ROOT)]
    told = subprocess.run(
        [*command, "--target-path", str(TARGET)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if told.returncode:
        raise ParseError(f"dbt cannot parse the project:\n{told.stdout.strip()}")
