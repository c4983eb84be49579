"""Whether to start a run for a waiting publication, from the runs that were started for it before. Pure functions."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ml.lake import patience

# Of tries that reached the rows. What ended before that is no fault of theirs, and is tried for as long as it takes.
TRIES = 3
# The tags of a run that a publication started.
EXPOSURE, PUBLICATION, TRY, LEDGER = "tract/exposure", "tract/publication", "tract/try", "tract/ledger"
# The pause after a first failure, unless TRACT_RETRY_SECONDS says otherwise.
# A hiccup of S3 or Postgres is over in seconds; servers that are away for hours are asked every ten minutes.
PAUSE_SECONDS = 15.0
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Run:
    """A run that was started for a publication.

    Attributes:
        ended_at: Seconds since the epoch; None while it is under way.
        number: Which try of its publication it is, from 1.
        consumed: Whether its publication is consumed: what it still does, marts and cards, holds nobody back.
        error: What ended it, for a person; empty for a success.
        reached: Whether it came as far as the rows, and ended because of them or of what learns from them: not one
            that did not start, was killed, lost its lock, or found S3 or Postgres away.
    """

    run_id: str
    publication_id: str
    ended_at: float | None
    number: int = 1
    consumed: bool = False
    error: str = ""
    reached: bool = True


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
    ended = sorted(
        (run for run in runs if run.publication_id == publication_id and run.ended_at),
        key=lambda run: (run.ended_at, run.number),
    )
    if not ended:
        return Start(1)
    last, reached = ended[-1], sum(run.reached for run in ended)
    error = last.error or "the run ended without consuming it"
    if reached >= TRIES:
        return GiveUp(f"{reached} tries failed, the last with: {error}")
    assert last.ended_at is not None
    due = last.ended_at + pause(len(ended))
    if now < due:
        which = f"try {reached} of {TRIES} failed" if last.reached else f"try {last.number} did not reach the rows"
        return Wait(f"{which} ({error}); the next is due in {due - now:.0f} s")
    return Start(max(run.number for run in ended) + 1)


def pause(failures: int) -> float:
    """Seconds to wait after so many failures, at most `LONGEST_SECONDS`.

    Raises:
        ValueError: TRACT_RETRY_SECONDS is no number.
    """
    said = os.environ.get("TRACT_RETRY_SECONDS", str(PAUSE_SECONDS))
    try:
        first = float(said)
    except ValueError:
        raise ValueError(f"TRACT_RETRY_SECONDS is {said!r}. It must be a number of seconds, such as 15.") from None
    return patience.growing(first, failures, max(first, LONGEST_SECONDS))
