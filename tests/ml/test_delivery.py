"""What people are told reaches them once at the most, whoever is killed when, and no secret is in any word of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import duckdb
import pytest

from ml import delivery
from ml.exposures import Exposure
from ml.lake import locks
from ml.records import notices
from ml.spec import NotifySpec
from tests.ml import recipients
from tests.ml.conftest import Publish
from tests.ml.recipients import DROP, SECRET, MailServer, Webhook
from tests.ml.rows import silent

State = tuple[str, str, str | None]


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that OPS names."""
    with recipients.webhook() as there:
        monkeypatch.setenv("OPS", there.url)
        yield there


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """The mail server, which asks for a password."""
    with recipients.mail_server("tract@example.com", SECRET) as there:
        password = SECRET.replace("/", "%2F")
        monkeypatch.setenv("TRACT_SMTP_URL", f"smtp://tract%40example.com:{password}@127.0.0.1:{there.port}")
        yield there


def telling(exposure: Exposure, *recipients: str) -> Exposure:
    told = tuple(NotifySpec(on=("failed", "refused", "promoted"), to=to) for to in recipients)
    return replace(exposure, spec=exposure.spec.model_copy(update={"notify": told}))


def note(con: duckdb.DuckDBPyConnection, exposure: Exposure, about: str, *recipients: str) -> None:
    notices.note(con, telling(exposure, *recipients), "refused", about, f"points: {about} was refused.")


def deliver(con: duckdb.DuckDBPyConnection, at: datetime | None = None) -> list[tuple[str, str]]:
    """What came of it: about and state of each that was tried."""
    clock: Callable[[], datetime] = lambda: at or datetime.now(UTC)  # noqa: E731 (mypy knows its type)
    return [(one.notice.about, one.answer.state) for one in delivery.deliver(con, clock=clock, say=silent)]


def states(con: duckdb.DuckDBPyConnection) -> list[State]:
    return con.execute(
        "select about, state, reason from lake.ops.deliveries inner join lake.ops.notices using (notice_id) "
        "order by stated_at"
    ).fetchall()


def test_a_notice_is_begun_sent_and_never_sent_again(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook, post: MailServer
) -> None:
    note(con, exposure, "a", "OPS", "ann@example.com")
    assert deliver(con) == [("a", "sent"), ("a", "sent")]
    assert states(con) == [("a", "begun", None), ("a", "sent", None)] * 2
    assert deliver(con) == []
    assert (len(ops.requests), len(post.mails)) == (1, 1)
    ((notice_id,),) = con.execute("select notice_id from lake.ops.notices where recipient = 'OPS'").fetchall()
    assert ops.requests[0].headers["Idempotency-Key"] == notice_id
    assert "points: a was refused." in post.mails[0].content


# Everything but the lake and the recipients is another process, which is killed with SIGKILL where it says.
KILLED = """
import os, signal
from dataclasses import replace
from ml import consumption, delivery, lake
from ml.records import notices
from ml.spec import NotifySpec
from tests.ml.conftest import POINTS

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def say(sentence):
    if "committed with" in sentence:
        kill()

def after_the_commit():
    told = tuple(NotifySpec(on=("promoted",), to=to) for to in ("OPS", "ann@example.com"))
    consumption.consume(replace(POINTS, spec=POINTS.spec.model_copy(update={"notify": told})), say=say)

def before_the_mark():
    state = notices.state
    notices.state = lambda con, notice, said, reason=None: state(con, notice, said) if said == "begun" else kill()
    with lake.connect() as con:
        delivery.deliver(con, say=lambda sentence: None)
"""


def kill(where: str) -> None:
    killed = subprocess.run([sys.executable, "-c", f"{KILLED}\n{where}()"], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL


def test_who_is_killed_between_the_consumption_s_commit_and_the_sending_has_told_it_all_the_same(
    con: duckdb.DuckDBPyConnection, publish: Publish, ops: Webhook, post: MailServer
) -> None:
    publish()
    kill("after_the_commit")
    assert con.execute("select outcome from lake.ops.consumptions").fetchall() == [("trained",)]
    assert (ops.requests, post.mails, states(con)) == ([], [], [])
    assert deliver(con) == [("promotion 1", "sent")] * 2
    assert deliver(con) == []
    assert (len(ops.requests), len(post.mails)) == (1, 1)


@pytest.mark.parametrize("recipient", ["OPS", "ann@example.com"])
def test_who_is_killed_between_the_sending_and_the_mark_has_it_sent_no_second_time(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook, post: MailServer, recipient: str
) -> None:
    note(con, exposure, "a", recipient)
    kill("before_the_mark")
    assert (len(ops.requests) + len(post.mails), states(con)) == (1, [("a", "begun", None)])
    note(con, exposure, "b", recipient)  # the next is told
    done = delivery.deliver(con, say=silent)
    assert [(one.notice.about, one.answer.state) for one in done] == [("a", "unclear"), ("b", "sent")]
    assert deliver(con) == []
    assert len(ops.requests) + len(post.mails) == 2
    ((began,),) = con.execute("select stated_at from lake.ops.deliveries where state = 'begun' limit 1").fetchall()
    assert done[0].sentence == (
        f"{recipient} is told of points refused (a): perhaps, its sender was cut off after it had begun at "
        f"{began.astimezone(UTC):%Y-%m-%d %H:%M} UTC. It is not sent again, as nobody is told twice"
    )


def test_an_answer_that_does_not_come_is_unclear_and_not_asked_for_again(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook
) -> None:
    note(con, exposure, "a", "OPS")
    ops.answers = [DROP]
    later = datetime.now(UTC) + timedelta(days=2)
    assert (deliver(con), deliver(con, later)) == ([("a", "unclear")], [])
    assert len(ops.requests) == 1


def test_what_is_refused_for_now_is_tried_again_after_pauses_under_the_same_id(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook
) -> None:
    note(con, exposure, "a", "OPS")
    ops.answers = [503, 429, 500]
    now = datetime.now(UTC)
    at = [now, now + timedelta(seconds=10), now + timedelta(seconds=30), now + timedelta(seconds=50)]
    # the pauses are counted from the rows' own moments, which are all about now: 15 s, then 60 s, then 240 s
    assert [deliver(con, moment) for moment in at] == [[("a", "postponed")], [], [("a", "postponed")], []]
    assert deliver(con, now + timedelta(seconds=90)) == [("a", "postponed")]
    assert deliver(con, now + timedelta(seconds=200)) == []
    assert deliver(con, now + timedelta(seconds=300)) == [("a", "sent")]
    assert len({request.headers["Idempotency-Key"] for request in ops.requests}) == 1 and len(ops.requests) == 4
    assert [state for _, state, _ in states(con)] == ["begun", "postponed"] * 3 + ["begun", "sent"]


def test_who_refuses_rests_with_all_that_waits_there_and_is_asked_once_a_pause(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook
) -> None:
    for about in ("a", "b", "c"):
        note(con, exposure, about, "OPS")
    ops.answers = [503, 503]
    now = datetime.now(UTC)
    assert [deliver(con, now), deliver(con, now + timedelta(seconds=5))] == [[("a", "postponed")], []]
    assert deliver(con, now + timedelta(seconds=30)) == [("b", "postponed")]  # the least tried first
    assert deliver(con, now + timedelta(seconds=5)) == []
    assert deliver(con, now + timedelta(seconds=60)) == [("c", "sent"), ("a", "sent"), ("b", "sent")]
    assert len(ops.requests) == 5


def test_at_once_nobody_rests(con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook) -> None:
    note(con, exposure, "a", "OPS")
    ops.answers = [503]
    assert (deliver(con), deliver(con)) == ([("a", "postponed")], [])
    (done,) = delivery.deliver(con, at_once=True, say=silent)
    assert (done.notice.about, done.answer.state, len(ops.requests)) == ("a", "sent", 2)


def test_pauses_grow_to_an_hour() -> None:
    assert [delivery.pause(refusals).total_seconds() for refusals in (1, 2, 3, 4, 5, 6, 99, 9999)] == [
        15, 60, 240, 960, 3600, 3600, 3600, 3600,
    ]  # fmt: skip


def test_what_is_refused_for_a_day_is_given_up_and_what_is_refused_for_good_at_once(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook
) -> None:
    note(con, exposure, "a", "OPS")
    now = datetime.now(UTC)
    ops.answers = [503, 503, 503, 404]
    assert deliver(con, now) == [("a", "postponed")]
    assert deliver(con, now + timedelta(hours=23)) == [("a", "postponed")]
    assert deliver(con, now + timedelta(hours=24, minutes=1)) == [("a", "undeliverable")]
    note(con, exposure, "b", "OPS")
    assert deliver(con, now + timedelta(days=3)) == [("b", "undeliverable")]
    assert deliver(con, now + timedelta(days=9)) == []
    assert [(about, reason) for about, state, reason in states(con) if state == "undeliverable"] == [
        ("a", "given up after 24 hours, the last time as the webhook answered 503 Service Unavailable"),
        ("b", "the webhook answered 404 Not Found"),
    ]


def test_who_refuses_holds_up_nobody_else(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    ops: Webhook,
    post: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with recipients.webhook() as gone:
        monkeypatch.setenv("GONE", gone.url)
    for about in ("a", "b"):
        note(con, exposure, about, "NOT_SET", "GONE", "OPS", "ann@example.com")
    assert sorted(deliver(con)) == [*[("a", "postponed")] * 2, *[("a", "sent")] * 2, *[("b", "sent")] * 2]
    assert {(about, reason) for about, state, reason in states(con) if state == "postponed"} == {
        ("a", "connection refused"),
        ("a", "the environment variable NOT_SET is not set where notices are sent"),
    }
    assert [about for about, state, _ in states(con) if state == "begun"].count("b") == 2  # of OPS and Ann
    assert (len(ops.requests), len(post.mails)) == (2, 2)
    monkeypatch.setenv("NOT_SET", ops.url)  # it is mended
    later = datetime.now(UTC) + timedelta(minutes=1)
    mended = deliver(con, later)
    assert {("a", "sent"), ("b", "sent")} <= set(mended) and ("b", "postponed") in mended  # of GONE, tried once a go


def test_one_go_ends_and_the_next_goes_on(con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook) -> None:
    for about in ("a", "b"):
        note(con, exposure, about, "OPS")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "LAST_BEGUN_SECONDS", -1)
        assert (deliver(con), ops.requests) == ([], [])
    assert deliver(con) == [("a", "sent"), ("b", "sent")]


def test_two_senders_send_nothing_twice(con: duckdb.DuckDBPyConnection, exposure: Exposure, ops: Webhook) -> None:
    for number in range(6):
        note(con, exposure, f"n{number}", "OPS")
    code = "from ml import delivery, lake\nwith lake.connect() as con: delivery.deliver(con)"
    senders = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [sender.communicate()[1] for sender in senders]
    assert 0 in [sender.returncode for sender in senders]
    assert all("LockTimeoutError" in error for sender, error in zip(senders, errors, strict=True) if sender.returncode)
    assert deliver(con) == []
    keys = [request.headers["Idempotency-Key"] for request in ops.requests]
    assert len(keys) == len(set(keys)) == 6
    with locks.lock(delivery.LOCK), pytest.raises(locks.LockTimeoutError, match="'send notices' was not free"):
        deliver(con)


def test_no_secret_is_in_a_row_a_word_or_an_error(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    ops: Webhook,
    post: MailServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    ops.answers = [500, 404, DROP, 200]
    post.answers = {".": f"552 {SECRET} is too large"}
    for number in range(4):
        note(con, exposure, f"n{number}", "OPS", "ann@example.com")
        said += [one.sentence for one in delivery.deliver(con, say=said.append)]
    monkeypatch.setenv("OPS", f"ftp://hooks.example.com/{SECRET}")
    monkeypatch.setenv("TRACT_SMTP_URL", f"smtp://ann:{SECRET}@127.0.0.1:{post.port}")
    note(con, exposure, "n4", "OPS", "ann@example.com")
    said += [one.sentence for one in delivery.deliver(con, say=said.append)]
    rows = chain.from_iterable(
        con.execute(f"from {table}").fetchall()
        for table in ("lake.ops.notices", "lake.ops.deliveries", "ducklake_snapshots('lake')")
    )
    output = capfd.readouterr()
    words = "\n".join([*said, *map(str, rows), output.out, output.err])
    assert len(said) > 10 and "n4" in words
    address = ops.url.partition("//")[2].partition("/")[0]
    for secret in (*SECRET.split("/"), "services", address, "hooks.example.com", str(post.port)):
        assert secret not in words, secret
    assert SECRET in ops.requests[0].path and f"\0{SECRET}" in post.logins[0]
    assert json.loads(ops.requests[0].body)["about"] == "n0"
