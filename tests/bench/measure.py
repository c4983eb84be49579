"""What a contender of the bench took."""

from dataclasses import dataclass, field
from typing import Any

# Stages of a contender's processes, as the columns of the report; publishing (a fingerprint) and watching what the
# champion before promised are told apart.
COLUMNS = {
    "featurize": ("featurize",),
    "fit": ("read", "judge", "fit", "save", "decide"),
    "predict and write": ("commit", "predict and write"),
}
WATCHING = ("drift", "live error")


@dataclass
class Measure:
    """Seconds of each stage, of the whole processes with their imports, and the peak memory of their tree."""

    contender: str
    storage: str
    rows: int
    seconds: dict[str, float]
    processes: float
    peak_bytes: int
    found: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str) -> float | None:
        """Seconds of the stages under one column of the report; None where there are none."""
        stages = [self.seconds[stage] for stage in COLUMNS[name] if stage in self.seconds]
        return sum(stages) if stages else None

    @property
    def total(self) -> float:
        """Seconds of featurizing, fitting and predicting."""
        return sum(self.column(name) or 0.0 for name in COLUMNS)
