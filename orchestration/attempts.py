"""Whether to start a run for a waiting publication, from the runs that were started for it before. Pure functions."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

TRIES = 3
# The tags of a run that a publication started.
EXPOSURE, PUBLICATION, TRY, LEDGER = "tract/exposure", "tract/publication", "tract/try", "tract/ledger"
# The pause after a first failure, unless TRACT_RETRY_SECONDS says otherwise, and how much longer each next one is.
# A hiccup of S3 or Postgres is over in seconds; what lasts longer than two minutes wants a person.
PAUSE_SECONDS = 15.0
PAUSE_GROWTH = 4.0


@dataclass(frozen=True)
class Run:
    """A run that was started for a publication.

    Attributes:
        ended_at: Seconds since the epoch; None while it is under way.
        consumed: Whether its publication is consumed: what it still does, marts and cards, holds nobody back.
        error: What ended it, for a person; empty for a success.
    """

    run_id: str
    publication_id: str
    ended_at: float | None
    consumed: bool = False
    error: str = ""


@dataclass(frozen=True)
class Start:
    """Start try `number`."""

    number: int


@dataclass(frozen=True)
class Wait:
    """Not now; `why` is for the tick's log."""

    why: str


@dataclass(frozen=True)
class GiveUp:
    """Leave it to a person, with the reason."""

    reason: str


def decide(publication_id: str, runs: Sequence[Run], now: float) -> Start | Wait | GiveUp:
    """What to do about the newest publication of an exposure.

    Args:
        runs: The exposure's runs, of this and of other publications.
        now: Seconds since the epoch.
    """
    under_way = [run for run in runs if run.ended_at is None and not run.consumed]
    if under_way:
        return Wait(f"run {under_way[0].run_id[:8]} is under way for {under_way[0].publication_id}")
    ended = sorted((run.ended_at, run.error) for run in runs if run.publication_id == publication_id and run.ended_at)
    if not ended:
        return Start(1)
    last, error = ended[-1]
    if len(ended) >= TRIES:
        return GiveUp(f"{len(ended)} tries failed, the last with: {error or 'the run ended without consuming it'}")
    due = last + pause(len(ended))
    if now < due:
        return Wait(f"try {len(ended)} of {TRIES} failed ({error}); the next is due in {due - now:.0f} s")
    return Start(len(ended) + 1)


def pause(failures: int) -> float:
    """Seconds to wait after so many failures.

    Raises:
        ValueError: TRACT_RETRY_SECONDS is no number.
    """
    said = os.environ.get("TRACT_RETRY_SECONDS", str(PAUSE_SECONDS))
    try:
        first = float(said)
    except ValueError:
        raise ValueError(f"TRACT_RETRY_SECONDS is {said!r}. It must be a number of seconds, such as 15.") from None
    return first * PAUSE_GROWTH ** (failures - 1)
