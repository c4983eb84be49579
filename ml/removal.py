"""The end of an environment: its schemas, its rows, its exports and cards. Production has no such end."""

import json
from contextlib import ExitStack
from dataclasses import dataclass

import duckdb
from pyarrow import fs

from ml import environments, lake
from ml.errors import TractError
from ml.lake import locks, state
from ml.progress import Say
from ml.records import migrations, owned


class RemovalError(TractError):
    """There is nothing of that name that may be removed; the message says what there is."""


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Attributes:
        exposures: As the lake named them.
        rows: Of `ml` and `ops`.
    """

    schemas: tuple[str, ...]
    exposures: tuple[str, ...]
    rows: int


def remove(environment: str, *, by: str, say: Say = print) -> Removed:
    """Remove an environment in one commit, while nobody builds and nobody learns there; then its files.

    The models' own files go with the next maintenance, as those of any version that is no more.

    Args:
        environment: A target's name, other than production's.
        by: Who removes, which the commit keeps.

    Raises:
        RemovalError: It is production, or the lake holds nothing of it.
        LakeUnavailableError: The lake is not up.
        LakeVersionError: The lake is of another release; nothing was removed.
    """
    if environment == environments.PRODUCTION:
        raise RemovalError("Production cannot be removed.")
    with locks.lock("build", say=say) as confirm, migrations.entered() as con, ExitStack() as held:
        names = owned.exposures(con, environment)
        schemas = owned.schemas(con, environment, _of_production(con))
        if not names and not schemas:
            raise RemovalError(f"The lake holds nothing of a target {environment}.")
        confirming = [confirm]
        for name in names:
            for lock in (locks.consuming(name), locks.completing(name)):
                confirming.append(held.enter_context(locks.lock(lock, say=say)))

        def confirm_all() -> None:
            for one in confirming:
                one()

        with lake.transaction(con, by, f"remove {environment}", confirm_all):
            rows = owned.drop(con, environment, schemas)
        _remove_files(environment, names)
    return Removed(tuple(schemas), tuple(names), rows)


def _of_production(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The schemas of production's last build."""
    manifest = state.read(con)
    return {node["schema"] for node in json.loads(manifest)["nodes"].values()} if manifest else set()


def _remove_files(environment: str, names: list[str]) -> None:
    store = lake.store()
    for folder in (f"exports/{environment}", *(f"cards/{name}" for name in names)):
        if store.get_file_info(folder).type == fs.FileType.Directory:
            store.delete_dir(folder)
