"""dbt-duckdb's hook: enters the lake by its one door, queues builds, and gives macros the decisions of `ml`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.duckdb.utils import TargetConfig
from dbt.adapters.events.logging import AdapterLogger
from dbt.adapters.factory import get_adapter_by_type
from dbt.cli.main import cli
from dbt.flags import get_flags
from dbt_common.events.base_types import EventMsg
from dbt_common.events.event_manager_client import add_callback_to_manager
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class)

from dbt_project.tract import ahead
from dbt_project.tract.engine import CONNECTIONS, built_by_engine, counted, summed, tested_by_engine
from dbt_project.tract.options import leaving_out
from ml import errors, lake, publishing
from ml.lake import locks, patience, state
from ml.manifest import doubts, read_exposures
from ml.records import followed, migrations, publications, tables
from ml.spark.session import tests_above_rows

T = TypeVar("T")
logger = AdapterLogger("Tract")

# What writes tables of the lake. Two such runs at once collide on dbt's `__dbt_tmp`, so they queue for one lock.
WRITING = ("build", "run", "seed", "snapshot", "retry", "clone", "run-operation")


class TractError(DbtRuntimeError):
    """An error that a person mends: dbt prints the message alone."""

    def __str__(self, prefix: str = "") -> str:
        return f"{prefix}{self.msg}"


class Plugin(BasePlugin):
    """One for a dbt process, which may make many invocations: a notebook builds with `dbtRunner`, an editor previews.

    The build lock belongs to an invocation that writes. It is taken when that opens its first connection, and given
    back when the invocation ends; its own connection dies with the process, and the lock with it. Whoever opens dbt's
    adapter without an invocation reads, and takes none.
    """

    failed: tuple[str, TractError] | None = None  # the invocation, and what it was told
    locked: Connection | None = None

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Runs before extensions are loaded and databases attached: the place to say that the lake is down.

        dbt connects again for each schema after a connection that failed; an invocation has one answer for all of them.
        """
        if self.failed and self.failed[0] == get_invocation_id():
            raise self.failed[1]
        # dbt knows which project is meant, by --project-dir or its place: the lake and the recorded commit follow it
        os.environ["DBT_PROJECT_DIR"] = project = str(get_flags().PROJECT_DIR)
        if project not in sys.path:
            sys.path.append(project)  # Python models and checks may import what lies in the project
        with self._said():
            lake.check()
            locks.connect(locks.this_process()).close()
        config.update(lake.config())

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Runs once, before databases are attached; a profile's own settings come after it."""
        conn.execute(lake.IN_UTC)
        conn.execute(patience.S3_SQL)
        CONNECTIONS[:] = [conn]

    def configure_cursor(self, cursor: object) -> None:
        """Runs for each connection of dbt's, before its first statement: the place where writing begins."""
        one_thread()
        if invoked() and writes(None) and self.locked is None:
            with self._said():
                con = locks.connect(locks.this_process())
                locks.acquire(con, "build", _lock_timeout(), logger.info)
            self.locked = con
            # dbt lists what is there by threads of its own, before its main thread comes here: another build may have
            # made or dropped some of it since. The hook `list_relations` lists it anew.
            get_adapter_by_type("duckdb").cache.clear()
            add_callback_to_manager(self._release)

    def _release(self, event: EventMsg) -> None:
        """Give the lock back with the event that ends every invocation, however it went."""
        if event.info.name == "CommandCompleted" and self.locked is not None:
            self.locked.close()
            self.locked = None

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what a person mends into dbt's error, and remember it for the other connections of this invocation."""
        try:
            yield
        except errors.TractError as error:
            self.failed = get_invocation_id(), TractError(str(error))
            raise self.failed[1] from None

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


def one_thread() -> None:
    """Let dbt build one node at a time, whatever profile or --threads say.

    DuckLake 1.5.5 fails to commit where several threads write ("maximum retry count", "Failed to get path for
    schema"): with eight, each build of this project did. DuckDB itself works on every core; one thread takes no longer.
    """
    config = get_adapter_by_type("duckdb").config
    if config.threads > 1:
        logger.info(f"One thread, not {config.threads}: DuckLake does not commit for several at once.")
        config.threads = 1


def publishes() -> bool:
    """Whether the target says that its builds publish: `config: {publish: true}` of the plugin, in profiles.yml.

    Raises:
        TractError: It says something else than true or false.
    """
    plugins = get_adapter_by_type("duckdb").config.credentials.plugins or []
    said = next((plugin.config or {} for plugin in plugins if plugin.module == __name__), {}).get("publish", False)
    if str(said).lower() not in ("true", "false"):
        raise TractError(f"The plugin's `publish` is '{said}' in profiles.yml. It must be true or false.")
    return str(said).lower() == "true"


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


def check_ahead(known: Mapping[str, Any]) -> None:
    """See, before the first model is built, that the exposures fit, and the models that this invocation writes.

    Args:
        known: The `manifest`, `models` of which tables with a contract are made, their `checks`, dotted paths, and
            `places`, name and schema of each node that the lake gets.

    Raises:
        TractError: Everything that does not fit, a line each.
    """
    tests_above_rows()
    read_exposures(known["manifest"])
    if not writes(None):
        return
    wrong = ahead.not_its_own(known["places"], known["manifest"]["environment"])
    wrong = (
        wrong
        or ahead.refused_constraints(known["models"])
        or [sentence for function in known["checks"] if (sentence := ahead.wrong(function))]
    )
    if wrong:
        raise errors.TractError("\n".join(wrong))


def doubtful_exposures(manifest: Mapping[str, Any]) -> list[str]:
    """What to warn of, a sentence each: candidates whose estimator is not to be found."""
    return doubts(read_exposures(manifest))


def table_statements(lake: Mapping[str, Any]) -> list[str]:
    """The statements that make the tables of `ops` and `ml`, or bring those of an earlier release up to date.

    Args:
        lake: `present`, the tables that are there, `applied`, the migrations, and the `manifest`.
    """
    return migrations.statements(lake["present"], lake["applied"], read_exposures(lake["manifest"]))


def columns_sql(lake: Mapping[str, Any]) -> dict[str, str]:
    """The queries for the columns of the tables of predictions that are there, by exposure; none before a migration,
    which may change them.

    Args:
        lake: As for `table_statements`.
    """
    exposures = read_exposures(lake["manifest"]) if lake["applied"] >= migrations.LATEST else []
    return {
        one.name: tables.columns_sql(one) for one in exposures if f"ml.{one.spec.predictions_table}" in lake["present"]
    }


def check_tables(found: Mapping[str, Any]) -> None:
    """See that the tables of predictions can take what the exposures predict.

    Args:
        found: The `manifest` and the `columns` of each table, name and type, by exposure.

    Raises:
        TractError: What cannot, a line each.
    """
    exposures = [one for one in read_exposures(found["manifest"]) if one.name in found["columns"]]
    if wrong := [why for one in exposures if (why := tables.misfit(one, dict(found["columns"][one.name])))]:
        raise errors.TractError("\n".join(wrong))


def ledger_sql(_: None) -> dict[str, str]:
    """The queries for what `table_statements` must know: the tables, and, where the ledger is there, the migrations.

    With the name of the ledger, and of a table that every lake has which is not new.
    """
    return {
        "present": migrations.PRESENT_SQL,
        "applied": migrations.APPLIED_SQL,
        "ledger": migrations.LEDGER,
        "first": migrations.FIRST,
    }


def invoked() -> bool:
    """Whether this is dbt at work in its main thread, and no editor or other program that opened its adapter."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().command is cli


def writes(_: None) -> bool:
    """Whether the invocation writes tables, and so holds the build lock."""
    return get_flags().WHICH in WRITING


# The newest snapshot when each invocation of this process began.
BEGAN: dict[str, int] = {}


def begins(snapshot: int) -> None:
    """Remember the lake's newest snapshot, before this invocation writes anything."""
    BEGAN[get_invocation_id()] = int(snapshot)


def publication_steps(ended: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to ask the lake at the end of an invocation, for each learned-from table that it was to build.

    Of a table that is not published there is the `sentence`; otherwise `state_sql`, whose row goes to `publish_at`.
    """
    invocation = publishing.Invocation(command=_command(), partial=leaving_out(get_flags()), **ended["invocation"])
    steps = []
    decisions = publishing.decide(invocation, read_exposures(ended["manifest"]))
    environment = ended["manifest"]["environment"]
    if decisions and environment and not publishes():
        return [{"sentence": publishing.not_from(environment)}]
    for decision in decisions:
        step: dict[str, Any] = {"relation": decision.relation, "manifest": ended["manifest"]}
        if decision.reason is None:
            step["state_sql"] = publications.state_sql(invocation.invocation_id, decision.relation)
        else:
            step["sentence"] = publishing.sentence(decision)
        steps.append(step)
    return steps


def publish_at(step: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot that is published, and the counts that tell who can learn from it, by exposure; or the `sentence`.

    The `counts` of a large table that an engine built are there; for any other, `learnable_sql` are the queries.

    Args:
        step: Of `publication_steps`, with `state`, the row.
    """
    signed, changed, newest = (None if n is None else int(n) for n in step["state"])
    state = publishing.State(BEGAN.get(get_invocation_id()), signed, changed, newest or 0)
    decision = publishing.conclude(publishing.Decision(step["relation"], None), state)
    if decision.snapshot is None:
        return {"sentence": publishing.sentence(decision)}
    table = publications.table_at(decision.relation, decision.snapshot)
    exposures = [one for one in read_exposures(step["manifest"]) if one.relation == decision.relation]
    counts = counted(step, decision, exposures)
    return {
        "snapshot": decision.snapshot,
        "followed_sql": followed.NEWEST_SQL,
        "counts": counts,
        "learnable_sql": {
            exposure.name: publishing.learnable_sql(exposure, table)
            for exposure in exposures
            if exposure.name not in counts
        },
    }


def publish_or_not(step: Mapping[str, Any]) -> dict[str, str]:
    """The `sentence` for the log and, to publish, the `insert_sql`.

    Args:
        step: Of `publication_steps`, with `snapshot`, and what the queries gave: `counts`, a row by exposure, and
            `followed`, a revision by exposure.
    """
    exposures = [one for one in read_exposures(step["manifest"]) if one.name in step["counts"]]
    unlearnable, notes = {}, {}
    for exposure in exposures:
        counts = [n if n is None else int(n) for n in step["counts"][exposure.name]]
        unlearnable[exposure.name] = publishing.unlearnable(exposure, counts)
        notes[exposure.name] = publishing.noted(exposure, counts)
    decision = publishing.Decision(step["relation"], None, step["snapshot"])
    decision = publishing.heed(decision, unlearnable, notes)
    learning = [exposure for exposure in exposures if not unlearnable[exposure.name]]
    decision = publishing.warn(decision, publishing.unfollowed(learning, step["followed"]))
    answer = {"sentence": publishing.sentence(decision)}
    if decision.reason is None:
        sums = summed(step, decision)
        snapshot = str(decision.snapshot)
        answer["insert_sql"] = publications.insert_sql(get_invocation_id(), decision.relation, snapshot, sums)
    return answer


def keep_manifest(ended: Mapping[str, Any]) -> None:
    """Keep dbt's manifest where the builds of other targets find it, after production's build without a failure.

    Args:
        ended: `production`, the target that is, or None; and `statuses`, of all nodes that ran.
    """
    config = get_adapter_by_type("duckdb").config
    failed = [status for status in ended["statuses"] if status not in ("success", *publishing.PASSED, "no-op")]
    if ended["production"] != config.target_name or _command() != "build" or failed:
        return
    manifest = Path(config.project_root, config.project_target_path, "manifest.json")
    if leaving_out(get_flags()) or not manifest.exists():  # --no-write-json
        return
    try:
        with lake.connect() as con:
            state.keep(con, manifest.read_bytes())
    except duckdb.Error as error:  # what was built and published stands
        logger.warning(f"The manifest was not kept for builds of other targets ({lake.first_line(error)}).")


ANSWERS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        check_ahead,
        doubtful_exposures,
        tables.option_statements,
        ledger_sql,
        table_statements,
        columns_sql,
        check_tables,
        writes,
        begins,
        publication_steps,
        publish_at,
        publish_or_not,
        keep_manifest,
        built_by_engine,
        tested_by_engine,
    )
}
