"""How far a long piece of work is, said every few seconds and never for quick work; and the seconds of each stage."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

Say = Callable[[str], None]

# Seconds of silence: what ends before says nothing but its result.
PAUSE = 5.0


def sentence(what: str, done: float, total: float, seconds: float, unit: str = "rows") -> str:
    """`summing: 4,200,000 of 10,000,000 rows, 2,100,000 a second, 3 s left`."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f"{(total - done) / rate:,.0f} s left" if rate > 0 else "time left unknown"
    return f"{what}: {done:,.0f} of {total:,.0f} {unit}, {rate:,.{0 if rate >= 10 else 1}f} a second, {left}"


class Progress:
    """Work that counts what it has done."""

    def __init__(self, say: Say, what: str, total: int, unit: str = "rows") -> None:
        self.say, self.what, self.total, self.unit = say, what, total, unit
        self.done = 0
        self.began = self.said = time.monotonic()

    def advance(self, count: int) -> None:
        """Count what was done, and say it if the last word is some seconds old."""
        self.done += count
        now = time.monotonic()
        if now - self.said >= PAUSE and self.done < self.total:
            self.said = now
            self.say(sentence(self.what, self.done, self.total, now - self.began, self.unit))


@contextmanager
def following(con: duckdb.DuckDBPyConnection, say: Say, what: str, rows: int) -> Iterator[None]:
    """Say how far the statements inside are, as DuckDB estimates it, while another thread runs them.

    Args:
        con: From `lake.connect`, which turns DuckDB's own count on.
        rows: Of the table that is read.
    """
    ended = threading.Event()

    def look() -> None:
        began = time.monotonic()
        while not ended.wait(PAUSE):
            share = con.query_progress() / 100
            if 0 < share < 1:  # -1 between statements
                say(sentence(what, share * rows, rows, time.monotonic() - began))

    watcher = threading.Thread(target=look, name=f"progress of {what}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


class Stopwatch:
    """Laps in order.

    Attributes:
        seconds: Of each stage, by name.
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}
        self.last = time.monotonic()

    def lap(self, stage: str, told: str = "") -> None:
        """End a stage; say what it did, if that is worth a line."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self.last, 3)
        self.last = now
        if told:
            self.say(f"{told} ({self.seconds[stage]:.1f} s)")
