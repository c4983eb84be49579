"""dbt-duckdb's hook: enters the lake by its one door, queues builds, and gives macros the decisions of `ml`."""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click
import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig
from dbt.adapters.events.logging import AdapterLogger
from dbt.flags import get_flags
from dbt_common.exceptions import DbtRuntimeError

from ml import errors, lake, publishing
from ml.exposures import SpecError, read_exposures
from ml.lake import locks
from ml.records import migrations, publications, tables

logger = AdapterLogger("Tract")

# What writes tables of the lake. Two such runs at once collide on dbt's `__dbt_tmp`, so they queue for one lock.
WRITING = ("build", "run", "seed", "snapshot", "retry", "clone", "run-operation")


class TractError(DbtRuntimeError):
    """An error that a person mends: dbt prints the message alone."""

    def __str__(self, prefix: str = "") -> str:
        return f"{prefix}{self.msg}"


class Plugin(BasePlugin):
    """One for a dbt process; the build lock lives in its connection, and so dies with the process."""

    failed: TractError | None = None

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Runs before extensions are loaded and databases attached: the place to say that the lake is down.

        dbt connects anew for each schema after a connection that failed; the first answer stands for all of them.
        """
        if self.failed:
            raise self.failed
        # dbt knows which project is meant, by --project-dir or its place: the lake and the recorded commit follow it
        os.environ["DBT_PROJECT_DIR"] = project = str(get_flags().PROJECT_DIR)
        if project not in sys.path:
            sys.path.append(project)  # Python models and checks may import what lies in the project
        try:
            lake.check()
            con = locks.connect(locks.this_process())
            if get_flags().WHICH in WRITING:
                self.lock = con
                locks.acquire(con, "build", _lock_timeout(), logger.info)
            else:
                con.close()
        except (lake.LakeUnavailableError, locks.LockTimeoutError) as error:
            self.failed = TractError(str(error))
            raise self.failed from None
        config.update(lake.config())

    def store(self, target_config: TargetConfig) -> None:
        """Answer a macro's question (`ask_ml`); nothing is stored.

        `adapter.store_relation` is the one way from Jinja into Python that costs nothing: a function registered in
        DuckDB makes it import pandas, 1.7 s in each dbt run.
        """
        asked = target_config.config
        try:
            asked["answer"] = ANSWERS[asked["question"]](asked["said"])
        except errors.TractError as error:
            raise TractError(str(error)) from None


def _lock_timeout() -> float:
    said = os.environ.get("TRACT_LOCK_TIMEOUT", "0")
    try:
        return float(said)
    except ValueError:
        raise TractError(f"TRACT_LOCK_TIMEOUT is '{said}'. It must be a number of seconds; 0 waits for ever.") from None


def _command() -> str:
    """The command as typed; in `dbt retry`, dbt's flags already say the command that is tried again."""
    typed = click.get_current_context(silent=True)
    return str(typed.info_name if typed else get_flags().WHICH)


def wrong_exposures(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with the exposures, a sentence each."""
    try:
        read_exposures(manifest)
    except SpecError as error:
        return str(error).splitlines()
    return []


def table_statements(lake: Mapping[str, Any]) -> list[str]:
    """The statements that make the tables of `ops` and `ml`, or bring those of an earlier release up to date.

    Args:
        lake: `present`, the tables that are there, `applied`, the migrations, and the `manifest`.
    """
    return migrations.statements(lake["present"], lake["applied"], read_exposures(lake["manifest"]))


def ledger_sql(_: None) -> dict[str, str]:
    """The queries for what `table_statements` must know: the tables, and, where the ledger is there, the migrations."""
    return {"present": migrations.PRESENT_SQL, "ledger": migrations.LEDGER, "applied": migrations.APPLIED_SQL}


def publication_steps(ended: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """What to do at the end of an invocation, a step for each learned-from table that it was to build.

    A step has a `sentence` for the log and, to publish, `snapshot_sql` and an `insert_sql`; `{snapshot}` in them is
    where the number goes that `snapshot_sql` finds.
    """
    invocation = publishing.Invocation(command=_command(), **ended["invocation"])
    steps: list[dict[str, str | None]] = []
    for decision in publishing.decide(invocation, read_exposures(ended["manifest"])):
        step: dict[str, str | None] = {"sentence": publishing.sentence(decision), "snapshot_sql": None}
        if decision.reason is None:
            step["snapshot_sql"] = publications.snapshot_sql(invocation.invocation_id, decision.relation)
            step["insert_sql"] = publications.insert_sql(invocation.invocation_id, decision.relation, "{snapshot}")
        steps.append(step)
    return steps


def wrong(function: str) -> str | None:
    """What a function of the project finds wrong, in a sentence: of data to be landed, before they are.

    Args:
        function: Its dotted path. It takes a DuckDB connection with the lake's settings, and raises a `TractError`.
    """
    module, _, name = function.rpartition(".")
    try:
        check = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        return (
            f"tract.check: {function} cannot be imported: {lake.first_line(error)}. It must be "
            "package.module.function, of a package that is installed here or lies in the project."
        )
    try:
        with duckdb.connect(config=lake.config()) as con:
            lake.load_extensions(con, ("httpfs",))
            check(con)
    except errors.TractError as error:
        return str(error)
    return None


ANSWERS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        wrong_exposures,
        tables.option_statements,
        ledger_sql,
        table_statements,
        publication_steps,
        wrong,
    )
}
