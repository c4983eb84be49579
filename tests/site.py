"""The site of the docs, built where its tools are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = ROOT / ".venv" / "site" / "bin"
SOURCES = ("mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")

needs_tools = pytest.mark.skipif(
    not (TOOLS / "mkdocs").exists(), reason="mkdocs is not in .venv/site: `make site` installs it"
)


def sources(place: Path) -> Path:
    """A copy of what the site is made of, to be changed."""
    place.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, place)
    for room in ("docs", "ml", "orchestration", "dbt_project/housing/data"):
        shutil.copytree(ROOT / room, place / room)
    return place


def build(place: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site of some sources as `make site` does, into a folder."""
    return subprocess.run(
        [str(TOOLS / "mkdocs"), "build", "--strict", "--site-dir", str(target)],
        cwd=place,
        env={**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
