"""dbt-duckdb's hook: enters the lake by its one door, queues builds, and gives macros the decisions of `ml`."""

import json
import os
from typing import Any

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt.flags import get_flags
from dbt_common.exceptions import DbtRuntimeError

from ml import catalog, lake, publications, spec, tables

logger = AdapterLogger("Tract")

# What writes tables of the lake. Two such runs at once collide on dbt's `__dbt_tmp`, so they queue for one lock.
WRITING = ("build", "run", "seed", "snapshot", "retry", "clone", "run-operation")


class TractError(DbtRuntimeError):
    """An error that a person mends: dbt prints the message alone."""

    def __str__(self) -> str:
        return str(self.msg)


class Plugin(BasePlugin):
    """One for a dbt process; the build lock lives in its connection, and so dies with the process."""

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Runs before extensions are loaded and databases attached: the place to say that the lake is down."""
        try:
            self.lock = catalog.connect(catalog.this_process())
            if get_flags().WHICH in WRITING:
                timeout = float(os.environ.get("TRACT_LOCK_TIMEOUT", "0"))
                catalog.acquire(self.lock, "build", timeout, logger.info)
            lake.connect().close()
        except (lake.LakeUnavailableError, catalog.LockTimeoutError) as error:
            raise TractError(str(error)) from None
        config.update(lake.config())

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Gives the macros their functions: JSON in, JSON out, nothing read or written in them."""
        for function in (tract_exposures, tract_tables, tract_publications):
            conn.create_function(function.__name__, function, ["varchar"], "varchar")


def tract_exposures(manifest: str) -> str:
    """What is wrong with the exposures, as a JSON list of sentences."""
    try:
        spec.exposures(json.loads(manifest))
    except spec.SpecError as error:
        return json.dumps(str(error).splitlines())
    return "[]"


def tract_tables(manifest: str) -> str:
    """The statements that make the tables of `ops` and `ml`, as a JSON list."""
    return json.dumps(tables.statements(spec.exposures(json.loads(manifest))))


def tract_publications(ended: str) -> str:
    """What to publish of an ended invocation, as a JSON list of {sentence, snapshot_sql, insert_sql}.

    `insert_sql` has `{snapshot}` where the number goes that `snapshot_sql` finds; both are null for a refusal.
    """
    said = json.loads(ended)
    invocation = publications.Invocation(**said["invocation"])
    plan = []
    for decision in publications.decide(invocation, spec.exposures(said["manifest"])):
        publish = decision.reason is None
        plan.append(
            {
                "sentence": publications.sentence(decision),
                "snapshot_sql": publications.snapshot_sql(invocation.invocation_id, decision.relation)
                if publish
                else None,
                "insert_sql": publications.insert_sql(invocation.invocation_id, decision.relation, "{snapshot}")
                if publish
                else None,
            }
        )
    return json.dumps(plan)
