"""Notices: ops.notices, what people are told, and ops.deliveries, what came of it: append-only, the newest state holds.

A notice is written in the commit of what it tells of, so neither is there without the other. It is sent afterwards,
by `ml.delivery`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import duckdb

from ml.exposures import Exposure
from ml.lake.locks import this_process
from ml.occasions import Occasion
from ml.records import publications, tables
from ml.spec import NotifySpec

State = Literal["begun", "sent", "postponed", "undeliverable", "unclear"]


@dataclass(frozen=True)
class Notice:
    """What somebody is told, and how far its delivery is.

    Attributes:
        recipient: The environment variable that holds a webhook's URL, or an e-mail address.
        state: The newest; None before the first try.
        reason: That state, in words.
        tries: How often it was refused for the time being.
        first_at, stated_at: When the first and the newest state were written.
    """

    notice_id: str
    exposure: str
    about: str
    occasion: str
    recipient: str
    template: str
    text: str
    noticed_at: datetime
    state: State | None
    reason: str | None
    tries: int
    first_at: datetime | None
    stated_at: datetime | None


def note(con: duckdb.DuckDBPyConnection, exposure: Exposure, occasion: Occasion, about: str, text: str) -> None:
    """Write what is told to each who asked for the occasion, inside the caller's transaction; each once.

    The caller holds a lock under which nobody else writes of the same.

    Args:
        about: The event: a publication, or such as `promotion 3`.
    """
    asked = _asked(exposure, occasion)
    if not asked:
        return
    ledger = publications.ledger(con)
    for one in asked.values():
        notice_id = _id(ledger, exposure.name, about, occasion, one.to)
        if con.execute("from lake.ops.notices where notice_id = ?", [notice_id]).fetchone():
            continue
        notice = {
            "notice_id": notice_id,
            "exposure": exposure.name,
            "about": about,
            "occasion": occasion,
            "recipient": one.to,
            "template": one.template,
            "text": text,
        }
        tables.insert(con, "ops.notices", notice, moment="noticed_at")


def _asked(exposure: Exposure, occasion: Occasion) -> dict[str, NotifySpec]:
    """Who asked for an occasion, by recipient; of a target other than production nobody is told."""
    return {} if exposure.environment else {one.to: one for one in exposure.spec.notify if occasion in one.on}


def noted(con: duckdb.DuckDBPyConnection, exposure: Exposure, occasion: Occasion, about: str) -> bool:
    """Whether all who asked for the occasion have a notice of the event; also where nobody asked."""
    asked = _asked(exposure, occasion)
    if not asked:
        return True
    rows = con.execute(
        "select recipient from lake.ops.notices where exposure = ? and about = ? and occasion = ?",
        [exposure.name, about, occasion],
    ).fetchall()
    return set(asked) <= {row[0] for row in rows}


def _id(*parts: str) -> str:
    """32 hexadecimal digits, the same for the same event and recipient in one lake, and in no other."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


_STATES = """
    with stated as (
        select
            notice_id, max_by(deliveries, stated_at) as newest, count(*) filter (where state = 'postponed') as tries,
            min(stated_at) as first_at
        from lake.ops.deliveries as deliveries
        group by notice_id
    )
    select
        notices.notice_id, notices.exposure, notices.about, notices.occasion, notices.recipient, notices.template,
        notices.text, notices.noticed_at, newest.state, newest.reason, coalesce(stated.tries, 0), stated.first_at,
        newest.stated_at
    from lake.ops.notices as notices
    left join stated using (notice_id)
    where (newest.state is null or newest.state in ('begun', 'postponed'))
"""


def unsettled(con: duckdb.DuckDBPyConnection) -> list[Notice]:
    """What was not tried yet, is under way, or is to be tried again; the least tried first, then the oldest."""
    rows = con.execute(
        f"{_STATES} order by coalesce(stated.tries, 0), notices.noticed_at, notices.notice_id"
    ).fetchall()
    return [Notice(*row) for row in rows]


def unwell(con: duckdb.DuckDBPyConnection, since: datetime) -> list[Notice]:
    """What did not arrive, or may not have: all that is unsettled, and what was left since a moment; newest first."""
    rows = con.execute(
        f"{_STATES} or (newest.state in ('undeliverable', 'unclear') and newest.stated_at >= ?) "
        "order by notices.noticed_at desc, notices.notice_id",
        [since],
    ).fetchall()
    return [Notice(*row) for row in rows]


def state(con: duckdb.DuckDBPyConnection, notice: Notice, state: State, reason: str | None = None) -> None:
    """Write how far a delivery is, inside the caller's transaction and under the senders' lock."""
    row = {"notice_id": notice.notice_id, "state": state, "reason": reason, "sender": this_process()}
    tables.insert(con, "ops.deliveries", row, moment="stated_at")
