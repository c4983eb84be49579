"""The sensor that sends what people are told: a notice's commit is seen within seconds, and no run is started."""

import json

import dagster as dg
import duckdb

from ml import delivery
from ml.lake.locks import LockTimeoutError
from ml.records import migrations, notices, publications
from orchestration.door import watching

INTERVAL_SECONDS = 10


def send_notices() -> dg.SensorDefinition:
    """The sensor; what it finds no recipient for, or is refused, its ticks say."""
    return watching(
        "send_notices",
        "Sends what people are told (meta.ml.notify) by webhook and mail; tries again what is refused.",
        INTERVAL_SECONDS,
        tick,
    )


def tick(context: dg.SensorEvaluationContext, con: duckdb.DuckDBPyConnection) -> dg.SensorResult:
    """What the sensor does: nothing where nothing was committed since all was settled."""
    if migrations.state(con)[1] != migrations.LATEST:
        return dg.SensorResult(
            skip_reason="The lake is empty, or of another release: `dbt build` brings it up to date."
        )
    row = con.execute("select id from lake.current_snapshot()").fetchone()
    assert row is not None
    looked = json.dumps({"lake": publications.ledger(con), "snapshot": row[0]})
    if context.cursor == looked:
        return dg.SensorResult(skip_reason=f"Nothing was committed since snapshot {row[0]}.", cursor=looked)
    try:
        done = delivery.deliver(con, say=context.log.info)
    except LockTimeoutError as error:
        return dg.SensorResult(skip_reason=str(error))
    # what was done now, and what still waits with the reason that was said last
    open_ = [delivery.said(notice, notice.state, notice.reason) for notice in notices.unsettled(con)]
    sentences = list(dict.fromkeys([*(one.sentence for one in done), *open_]))
    # while a notice waits, the next tick looks again, though nothing new was committed
    return dg.SensorResult(
        skip_reason=" ".join(f"{sentence}." for sentence in sentences) or "Nothing is to be sent.",
        cursor=None if open_ else looked,
    )
