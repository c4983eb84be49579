"""What a version of classes serves: the class, probabilities, and the set of classes, made of raw probabilities."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ml import classes
from ml.arrays import Mask, Matrix, Vector
from ml.classes import Class
from ml.lake.sql import literal, text
from ml.learning import sets
from ml.learning.calibration import Calibration


@dataclass(frozen=True)
class Classification:
    """Of a version.

    Attributes:
        classes: Rising.
        positive: Of two, the one whose probability is given; None of more.
        calibration: Of raw probabilities; the version's estimator has it inside.
        set_quantile: Classes are in the set whose probability is not below 1 less it.
    """

    classes: tuple[Class, ...]
    positive: Class | None
    calibration: Calibration
    set_quantile: float

    @property
    def positive_place(self) -> int | None:
        """The place of the positive class; None where there are several classes."""
        return None if self.positive is None else self.classes.index(self.positive)

    def to_json(self) -> dict[str, Any]:
        """As values and names, for ml.model_versions."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> "Classification":
        """From what `to_json` gave."""
        calibration = Calibration(**json["calibration"])
        return cls(tuple(json["classes"]), json["positive"], calibration, json["set_quantile"])

    def columns(self, probabilities: Matrix) -> dict[str, pa.Array]:
        """The served columns of calibrated probabilities, shape (rows, classes), as Arrow has them."""
        most = probabilities.argmax(axis=1)
        return {
            "prediction": pa.array(list(self.classes)).take(pa.array(most)),
            "probability": pa.array(self.probability(probabilities)),
            "probabilities": mapped(self.classes, probabilities),
            "prediction_set": listed(self.classes, sets.members(probabilities, self.set_quantile)),
        }

    def probability(self, probabilities: Matrix) -> Vector:
        """Of the positive class, or, of several, of the most probable one; shape (rows,)."""
        place = self.positive_place
        return probabilities.max(axis=1) if place is None else probabilities[:, place]

    def columns_sql(self, second: str) -> str:
        """The same of two classes, as a list to select.

        Args:
            second: An expression, the calibrated probability of the second class, read several times: best a column.
        """
        p, q = (f"(1e0 - {second})", second), literal(self.set_quantile)
        one, other = (classes.literal(value) for value in self.classes)
        names = [text(classes.text_of(value)) for value in self.classes]
        inside = [
            f"case when 1e0 - {p[0]} <= {q} or {p[0]} >= {p[1]} then [{names[0]}] else [] end",
            f"case when 1e0 - {p[1]} <= {q} or {p[1]} > {p[0]} then [{names[1]}] else [] end",
        ]
        probability = p[1 if self.positive_place is None else self.positive_place]
        return (
            f"case when {p[1]} > {p[0]} then {other} else {one} end as prediction, {probability} as probability, "
            f"map {{{names[0]}: {p[0]}, {names[1]}: {p[1]}}} as probabilities, "
            f"list_concat({inside[0]}, {inside[1]}) as prediction_set"
        )


def mapped(of: tuple[Class, ...], probabilities: Matrix) -> pa.Array:
    """A map a row, class as text to probability; of shape (rows, classes)."""
    rows, count = probabilities.shape
    names = pa.array([classes.text_of(one) for one in of])
    keys = names.take(pa.array(np.tile(np.arange(count), rows)))
    offsets = np.arange(rows + 1, dtype=np.int32) * count
    return pa.MapArray.from_arrays(offsets, keys, pa.array(np.ascontiguousarray(probabilities).ravel()))


def listed(of: tuple[Class, ...], inside: Mask, known: Mask | None = None) -> pa.Array:
    """A list a row, of the classes inside as text, in their order; of shape (rows, classes).

    Args:
        known: Shape (rows,): of other rows there is no list.
    """
    names = pa.array([classes.text_of(one) for one in of])
    offsets = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
    values = names.take(pa.array(np.nonzero(inside)[1]))
    missing = None if known is None else pa.array(~known)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=missing)
