"""The sensor sends what is noted, says what it cannot send, and looks at nothing where nothing was committed."""

import json
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import duckdb
import pytest

from ml import delivery
from ml.exposures import Exposure
from ml.lake import locks
from ml.records import notices
from ml.spec import NotifySpec
from orchestration import notifying
from tests.ml import recipients
from tests.ml.recipients import SECRET, Webhook


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with recipients.webhook() as there:
        monkeypatch.setenv("OPS", there.url)
        yield there


def note(con: duckdb.DuckDBPyConnection, exposure: Exposure, about: str, *recipients: str) -> None:
    told = tuple(NotifySpec(on=("refused",), to=to) for to in recipients)
    asked = replace(exposure, spec=exposure.spec.model_copy(update={"notify": told}))
    notices.note(con, asked, "refused", about, f"points: {about} was refused.")


def tick(con: duckdb.DuckDBPyConnection, cursor: str | None = None) -> tuple[str, str | None]:
    """What it says, and its next cursor."""
    result = notifying.tick(dg.build_sensor_context(cursor=cursor), con)
    assert not result.run_requests and isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or "", result.cursor


def test_it_sends_once_and_looks_again_when_something_was_committed(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook
) -> None:
    said, cursor = tick(con)
    assert (said, cursor is not None) == ("Nothing is to be sent.", True)
    note(con, exposure, "a", "OPS")
    said, _ = tick(con, cursor)
    assert said == "OPS is told of points refused (a): sent."
    said, cursor = tick(con)  # it has committed itself
    assert said == "Nothing is to be sent."
    snapshot = json.loads(cursor or "")["snapshot"]
    assert tick(con, cursor) == (f"Nothing was committed since snapshot {snapshot}.", cursor)
    assert len(ops.requests) == 1


def test_what_waits_is_said_by_each_tick_and_no_word_holds_the_url(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    note(con, exposure, "a", "NOT_SET", "OPS")
    ops.answers = [500]
    expected = {
        "NOT_SET is told of points refused (a): not yet, the environment variable NOT_SET is not set where notices are "
        "sent. It is tried again.",
        "OPS is told of points refused (a): not yet, the webhook answered 500 Internal Server Error. It is tried "
        "again.",
    }
    cursor: str | None = None
    for _ in range(2):
        said, cursor = tick(con, cursor)
        assert all(sentence in said for sentence in expected) and said.count("is told") == 2
        assert cursor is None  # they wait, and are looked at again
    output = "".join(capfd.readouterr())
    assert "NOT_SET is told" in output
    for secret in SECRET.split("/"):
        assert secret not in output + said
    assert len(ops.requests) == 1


def test_another_sender_is_not_waited_for(con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook) -> None:
    note(con, exposure, "a", "OPS")
    with locks.lock(delivery.LOCK):
        said, cursor = tick(con)
    assert "The lock 'send notices' was not free within 1 s" in said and cursor is None
    assert ops.requests == []


def test_a_lake_of_an_earlier_release_is_left_to_the_next_build(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("drop table lake.ops.notices")
    con.execute("delete from lake.ops.migrations where migration = (select max(migration) from lake.ops.migrations)")
    assert tick(con)[0] == "The lake is empty, or of another release: `dbt build` brings it up to date."
