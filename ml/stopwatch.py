"""The seconds of each stage of a consumption, said as they pass."""

import time
from collections.abc import Callable

Say = Callable[[str], None]


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
