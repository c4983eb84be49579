"""What a contender is told, what it found, and the seconds of its stages: nothing but Python is needed to import it."""

import time
from typing import Any

Told = dict[str, Any]
Found = dict[str, Any]


class Stages:
    """Seconds of each stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def end(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now
