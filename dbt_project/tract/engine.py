"""What an engine does for a build: a model's rows, a test, and the counts and the fingerprint of what it built."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
from dbt.adapters.events.logging import AdapterLogger

from dbt_project.tract import ahead
from ml import errors, publishing
from ml.exposures import Exposure
from ml.records import publications
from ml.spark.session import RefusedError

if TYPE_CHECKING:
    from ml.spark.engine import Spark

T = TypeVar("T")
logger = AdapterLogger("Tract")

# The one DuckDB of dbt's process: its cursors see what is committed.
CONNECTIONS: list[duckdb.DuckDBPyConnection] = []


def counted(
    step: Mapping[str, Any], decision: publishing.Decision, exposures: Sequence[Exposure]
) -> dict[str, list[int | None]]:
    """The counts by the engine that built a large table, by exposure; none where DuckDB is to count."""

    def counts(spark: Spark) -> dict[str, list[int | None]]:
        from ml.spark import testing

        if not testing.is_large(spark.con, [decision.relation]):
            return {}
        return {exposure.name: publishing.counted_in_parts(exposure, spark) for exposure in exposures}

    return _by_engine(step, decision, "counts", counts) or {}


def summed(step: Mapping[str, Any], decision: publishing.Decision) -> tuple[int, int] | None:
    """The sums of the fingerprint by the engine that built the table; None where DuckDB did, which scans it."""

    def sums(spark: Spark) -> tuple[int, int]:
        return publications.sums(spark.of_parts(publications.SUMS_SQL))

    return _by_engine(step, decision, "fingerprint", sums)


def _by_engine(
    step: Mapping[str, Any], decision: publishing.Decision, what: str, ask: Callable[[Spark], T]
) -> T | None:
    """What an engine finds in the table that it built; None where DuckDB built it, or the engine fails."""
    nodes = step["manifest"]["nodes"].values()
    built = [node for node in nodes if f"{node['schema']}.{node['alias']}" == decision.relation]
    if not built or built[0]["config"].get("engine") != "spark" or decision.snapshot is None:
        return None
    from ml.spark.engine import Spark

    table = publications.table_at(decision.relation, decision.snapshot)
    try:
        with CONNECTIONS[0].cursor() as con:
            found = ask(Spark(con, decision.relation, decision.snapshot, table))
    except errors.TractError as error:  # the table is there and tested: DuckDB can tell as well, on one machine
        logger.warning(f"DuckDB makes the {what} of {decision.relation}: {error}")
        return None
    if found:
        logger.info(f"Spark made the {what} of {decision.relation}.")
    return found


def tested_by_engine(test: Mapping[str, Any]) -> str | None:
    """How many rows of a data test fail, as SQL, by the engine that built its tables; None where DuckDB is to count.

    Args:
        test: Its `name` and `sql`; `counted`, dbt's `fail_calc`; `tables`, `schema.table` of those that it is about.

    Raises:
        TractError: The engine is not there or fails.
    """
    from ml.spark import testing

    began = time.monotonic()
    with CONNECTIONS[0].cursor() as con:  # what is committed
        try:
            if not testing.is_large(con, test["tables"]):
                return None
            found = testing.failures(con, test["sql"], str(test["counted"]), test["name"])
        except RefusedError as error:
            logger.debug(f"DuckDB runs this test: {error}")
            return None
    logger.info(f"Spark ran the test {test['name']} in {time.monotonic() - began:.1f} s.")
    return "null" if found is None else str(found)


def built_by_engine(model: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a table of rows that an engine made, after its `create table`; the rows are in files by then.

    Args:
        model: Its compiled `sql`; `schema` and `name` of the table, which `stands` under another name in the end; its
            file's `path`; the contract's `columns` and `constraints`.

    Raises:
        TractError: The engine is not there or fails, or the SQL would mean something else there.
    """
    from ml.spark import building  # sqlglot takes a moment that builds without an engine do not wait for

    schema, name = model["schema"], model["name"]
    with CONNECTIONS[0].cursor() as con:  # what is committed: the build's own transaction is another's
        built = building.build(con, model["sql"], schema, model["stands"], str(model["path"]))
    return {
        "columns": built.ddl,
        "statements": building.statements(built, schema, name, ahead.required(model)),
        "sentence": f"Spark made {built.rows:,} rows of {schema}.{model['stands']} {built.way} in "
        f"{built.seconds:.1f} s, adopted from {len(built.files)} files.",
    }
