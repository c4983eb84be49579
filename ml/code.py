"""Which dbt project is meant and at which commit it is, and what of this code has moved."""

import os
import subprocess
from pathlib import Path

# Modules that specs and files of earlier releases name, and where they are now.
MOVED = {"ml.neighbours": "ml.recipes.neighbours", "ml.averaged": "ml.recipes.averaged"}


_CHECKOUT = Path(__file__).resolve().parents[1]


def project() -> Path:
    """The dbt project that is meant: `DBT_PROJECT_DIR`, dbt's own setting; else the one that the working directory is
    in; else the checkout that this code is in.
    """
    if configured := os.environ.get("DBT_PROJECT_DIR"):
        return Path(configured).resolve()
    here = Path.cwd()
    return next((one for one in (here, *here.parents) if (one / "dbt_project.yml").exists()), _CHECKOUT)


def command(verb: str) -> str:
    """The command that a person can give: in the checkout `make` has the verbs, and `tract` may not be on the PATH."""
    return f"`{'make' if project() == _CHECKOUT else 'tract'} {verb}`"


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
