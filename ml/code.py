"""Which code learns: a hash of ml's source and of the versions of the libraries that decide its numbers."""

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Modules that specs and files of earlier releases name, and where they are now.
MOVED = {"ml.neighbours": "ml.recipes.neighbours", "ml.averaged": "ml.recipes.averaged"}
LIBRARIES = ("duckdb", "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


@cache
def code_version() -> str:
    """sha256 over ml's files by name and content, Python's minor version and the libraries' versions."""
    digest = hashlib.sha256()
    room = Path(__file__).parent
    for path in sorted(room.rglob("*")):
        if path.suffix in (".py", ".sql"):
            digest.update(f"{path.relative_to(room)}\n".encode() + path.read_bytes() + b"\n")
    digest.update(".".join(platform.python_version_tuple()[:2]).encode())
    for library in LIBRARIES:
        digest.update(f"{library}=={version(library)}\n".encode())
    return digest.hexdigest()


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+` when files differ from it; None outside git."""
    place = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=place,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
