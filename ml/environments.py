"""The environments of one lake: production, and any other of dbt's targets, whose names stand before what is theirs.

An exposure `points` of the target `pr_41` is `pr_41.points` in every table of `ml` and `ops`, and its
models are built in schemas such as `pr_41__features`. No exposure of dbt's has a dot in its name, and no target that is
allowed has two underlines, so that nobody's rows or schemas are taken for another's.
"""

import re

from ml.errors import TractError

PRODUCTION = ""  # what production's names begin with
NAMES = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"  # tract/macros/environments.sql allows the same


class EnvironmentNameError(TractError):
    """A target's name cannot stand before names of the lake; the message says which can."""


def of_target(target: str, production: str | None) -> str:
    """The environment of a target; `PRODUCTION` where it is that one, or where the project names none.

    Args:
        production: The project's variable `production_target`.

    Raises:
        EnvironmentNameError: The target's name is no plain identifier.
    """
    if production is None or target == production:
        return PRODUCTION
    if not re.fullmatch(NAMES, target):
        raise EnvironmentNameError(
            f"The target '{target}' cannot stand before names of schemas and models. A target other than "
            f"production_target ({production}) has small letters and digits in its name, a letter first, and single "
            "underlines between them, such as pr_41."
        )
    return target


def lake_name(environment: str, name: str) -> str:
    """What an exposure is called in the lake, given its name in dbt."""
    return f"{environment}.{name}" if environment else name


def split(exposure_name: str) -> tuple[str, str]:
    """The environment, and the name in dbt, of an exposure's name in the lake."""
    environment, _, name = exposure_name.rpartition(".")
    return environment, name


def schema_prefix(environment: str) -> str:
    """What the names of its schemas begin with."""
    return f"{environment}__" if environment else ""
