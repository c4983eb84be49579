"""What people are told is sent: by one sender at a time, each notice once at the most, nobody waiting for another.

No server can promise more than that to a sender that may be killed: between a server's answer and the row that says so,
it cannot be known whether a notice arrived. So a try is committed before it is made, and a notice whose try has begun
and not ended is not sent again: it is `unclear`, and said so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from ml import lake
from ml.lake import locks, patience
from ml.notifying import Answer, RecipientError, mail, webhook
from ml.progress import Say
from ml.records import notices
from ml.records.notices import Notice

LOCK = "send notices"
# The pause after a first refusal, and the longest.
PAUSE_SECONDS, LONGEST_SECONDS = 15.0, 3600.0
GIVEN_UP_AFTER = timedelta(hours=24)
# No try is begun later in one go: a sensor's tick may take 60 s, and three recipients that do not answer take 30.
LAST_BEGUN_SECONDS = 25.0
EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Delivery:
    """A notice, and what came of it now."""

    notice: Notice
    answer: Answer

    @property
    def sentence(self) -> str:
        """That, for a person."""
        return said(self.notice, self.answer.state, self.answer.reason)


def said(notice: Notice, state: str | None, reason: str | None) -> str:
    """How far a notice is, in words: to whom, of what, and what a person may do."""
    what = f"{notice.recipient} is told of {notice.exposure} {notice.occasion} ({notice.about})"
    if state is None:
        return f"{what}: not yet. Dagster sends it, or `tract notify`"
    if state == "postponed":
        return f"{what}: not yet, {reason}. It is tried again"
    if state == "undeliverable":
        return f"{what}: never, {reason}. Mend {notice.recipient}; the next notice is sent there"
    if state == "unclear":
        return f"{what}: perhaps, {reason}. It is not sent again, as nobody is told twice"
    return f"{what}: {'it is being sent' if state == 'begun' else state}"


def deliver(
    con: duckdb.DuckDBPyConnection,
    *,
    at_once: bool = False,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    say: Say = print,
) -> list[Delivery]:
    """Send what was not sent yet to those who do not rest; the least tried first.

    A recipient that refuses is asked for nothing more in the same go, and rests.

    Args:
        at_once: Whether nobody rests, and the go ends when all were tried, however long that takes.

    Raises:
        LockTimeoutError: Another sender is at work.
        LockLostError: Postgres ended the lock's connection: what was not begun is not sent.
        LakeUnavailableError: The lake is not up.
    """
    begun = time.monotonic()
    done: list[Delivery] = []
    refuse: set[str] = set()
    with locks.lock(LOCK, timeout=1, say=say) as confirm:
        unsettled = notices.unsettled(con)
        until = {} if at_once else resting(unsettled)
        for notice in unsettled:
            if notice.state == "begun":  # we hold the lock: who began it is gone
                answer = _cut_off(con, notice)
            elif notice.recipient in refuse or clock() < until.get(notice.recipient, EVER):
                continue
            elif not at_once and time.monotonic() - begun > LAST_BEGUN_SECONDS:
                break
            else:
                answer = _deliver(con, notice, confirm, clock)
                if answer.state != "sent":
                    refuse.add(notice.recipient)
            done.append(Delivery(notice, answer))
            say(f"{done[-1].sentence}.")
    return done


def resting(unsettled: Sequence[Notice]) -> dict[str, datetime]:
    """By recipient that refused something for now: until when nothing is tried there.

    All its notices rest, as many as they are: a recipient that is away is asked once a pause, and not once for each.
    """
    refused: dict[str, list[Notice]] = {}
    for notice in unsettled:
        if notice.state == "postponed":
            refused.setdefault(notice.recipient, []).append(notice)
    return {
        recipient: max(one.stated_at for one in theirs if one.stated_at) + pause(max(one.tries for one in theirs))
        for recipient, theirs in refused.items()
    }


def pause(refusals: int) -> timedelta:
    """How long to wait after so many refusals."""
    return timedelta(seconds=patience.growing(PAUSE_SECONDS, refusals, LONGEST_SECONDS))


def _cut_off(con: duckdb.DuckDBPyConnection, notice: Notice) -> Answer:
    at = f" at {notice.stated_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if notice.stated_at else ""
    return _ended(con, notice, Answer("unclear", f"its sender was cut off after it had begun{at}"))


def _deliver(
    con: duckdb.DuckDBPyConnection, notice: Notice, confirm: Callable[[], None], clock: Callable[[], datetime]
) -> Answer:
    """One try: begun in a commit, made, and what came of it in another."""
    try:
        by_mail = mail.server() if "@" in notice.recipient else None
        url = "" if by_mail else webhook.url(notice.recipient)
    except RecipientError as error:
        answer = Answer("postponed", str(error))  # nothing is sent, so nothing is begun
    else:
        with lake.transaction(con, "ml", f"notice {notice.notice_id} begun", confirm):
            notices.state(con, notice, "begun")
        answer = mail.send(by_mail, notice) if by_mail else webhook.send(url, notice)
    now = clock()
    if answer.state == "postponed" and now - (notice.first_at or now) >= GIVEN_UP_AFTER:
        hours = GIVEN_UP_AFTER.total_seconds() / 3600
        answer = Answer("undeliverable", f"given up after {hours:g} hours, the last time as {answer.reason}")
    return _ended(con, notice, answer)


def _ended(con: duckdb.DuckDBPyConnection, notice: Notice, answer: Answer) -> Answer:
    # whoever holds the lock by now: what came of the try is known here alone
    with lake.transaction(con, "ml", f"notice {notice.notice_id} {answer.state}", lambda: None):
        notices.state(con, notice, answer.state, answer.reason)
    return answer
