"""Where this code was, and which commit of the project it ran for."""

import subprocess
from pathlib import Path

# Modules that specs and files of earlier releases name, and where they are now.
MOVED = {"ml.neighbours": "ml.recipes.neighbours", "ml.averaged": "ml.recipes.averaged"}


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
