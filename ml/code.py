"""Which dbt project is meant and at which commit it is, and what of this code has moved."""

import os
import subprocess
from pathlib import Path

# Modules that specs and files of earlier releases name, and where they are now.
MOVED = {"ml.neighbours": "ml.recipes.neighbours", "ml.averaged": "ml.recipes.averaged"}


def project() -> Path:
    """The dbt project that is meant: `DBT_PROJECT_DIR`, dbt's own setting, or the checkout that this code is in."""
    configured = os.environ.get("DBT_PROJECT_DIR")
    return Path(configured).resolve() if configured else Path(__file__).resolve().parents[1]


def git_commit() -> str | None:
    """The commit of the dbt project that is meant, with `+` when files differ from it; None outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=project(),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
