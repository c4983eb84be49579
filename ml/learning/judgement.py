"""What judging finds: held-out predictions of a candidate, and its metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ml import classes
from ml import metrics as names
from ml.arrays import Integers, Mask, Matrix, Vector
from ml.classes import Class
from ml.learning import measures
from ml.learning.classification import Classification, listed, mapped
from ml.learning.intervals import Spread
from ml.learning.measures import Ranking

ALL = "all"


class Measured:
    """A candidate with its metrics: a row per candidate (itself and `mean`), split, slice and metric, its value."""

    candidate: str
    metrics: pd.DataFrame

    def values(self, split: str, candidate: str | None = None, of: str = ALL) -> dict[str, float]:
        """The metrics over all rows, or over a slice, by name; of the candidate itself, or of `mean`."""
        table = self.metrics
        rows = table[
            (table["candidate"] == (candidate or self.candidate)) & (table["split"] == split) & (table["slice"] == of)
        ]
        return dict(zip(rows["metric"], rows["value"], strict=True))

    def value(self, split: str, metric: str, candidate: str | None = None, of: str = ALL) -> float:
        """One of `values`."""
        return self.values(split, candidate, of)[metric]

    def loss(self, split: str, metric: str, candidate: str | None = None) -> float:
        """What of it is better where it is less, over all rows."""
        return names.loss(metric, self.value(split, metric, candidate))


@dataclass(frozen=True)
class Judgement(Measured):
    """Of numbers.

    Attributes:
        heldout: A row per split and key: candidate, split, fold, the key, actual, predicted, lower, upper; these two
            NaN where nothing was known yet of how far errors reach.
        metrics: See `Measured`.
        spread: Learned from all held-out rows of the spec's split; it makes the intervals. None where another was
            judged.
    """

    candidate: str
    heldout: pd.DataFrame
    metrics: pd.DataFrame
    spread: Spread | None

    @property
    def parameters(self) -> dict[str, Any]:
        """What a version keeps of it."""
        assert self.spread is not None, "the spec's split was not judged"
        return {"spread": self.spread.to_json()}

    def losses(self, split: str, metric: str) -> Vector:
        """Squared or absolute, of each held-out row, shape (held-out rows,), in the order of the sample."""
        held = self.heldout[self.heldout["split"] == split]
        errors: Vector = np.asarray(held["actual"] - held["predicted"], np.float64)
        return np.abs(errors) if metric == "mae" else np.square(errors)

    def rankings(self, split: str) -> list[Ranking]:
        """None: numbers are not ranked."""
        return []


@dataclass(frozen=True)
class Held:
    """Rows that were held out by a split.

    Attributes:
        key: Shape (rows, columns), its values as SQL's text.
        fold, codes: Shape (rows,); the places of the true classes.
        probabilities: Calibrated, shape (rows, classes).
        inside: Which classes are in the set of each row, of the same shape.
        known: Shape (rows,): of other rows nothing was known yet of sets.
    """

    key: pd.DataFrame
    fold: Integers
    codes: Integers
    probabilities: Matrix
    inside: Mask
    known: Mask


@dataclass(frozen=True)
class ClassJudgement(Measured):
    """Of classes.

    Attributes:
        metrics: See `Measured`.
        classes: In the order of their codes.
        classification: Learned from all held-out rows of the spec's split; it makes what is served. None where another
            was judged.
        held: By split.
    """

    candidate: str
    metrics: pd.DataFrame
    classes: tuple[Class, ...]
    classification: Classification | None
    held: Mapping[str, Held]

    @property
    def parameters(self) -> dict[str, Any]:
        """What a version keeps of it."""
        assert self.classification is not None, "the spec's split was not judged"
        return {"classification": self.classification.to_json()}

    @property
    def heldout(self) -> pa.Table:
        """A row per split and key, as rows of a table of held-out predictions of classes."""
        of = self.classes
        texts = pa.array([classes.text_of(one) for one in of])
        tables = []
        for split, held in self.held.items():
            columns = {
                "candidate": pa.array([self.candidate]).take(pa.array(np.zeros(len(held.fold), np.int64))),
                "split": pa.array([split]).take(pa.array(np.zeros(len(held.fold), np.int64))),
                "fold": pa.array(held.fold),
                **{str(name): pa.array(column.to_list()) for name, column in held.key.items()},
                "actual": texts.take(pa.array(held.codes)),
                "predicted": texts.take(pa.array(held.probabilities.argmax(axis=1))),
                "probabilities": mapped(of, held.probabilities),
                "prediction_set": listed(of, held.inside, held.known),
            }
            tables.append(pa.table(columns))
        return pa.concat_tables(tables)

    def losses(self, split: str, metric: str) -> Vector:
        """Of each held-out row, shape (held-out rows,), in the order of the training set's sample; of `log_loss`,
        `brier_score` and `accuracy`.
        """
        held = self.held[split]
        return measures.of_rows(metric, held.codes, held.probabilities)

    def rankings(self, split: str) -> list[Ranking]:
        """The held-out rows as they are ranked."""
        held = self.held[split]
        assert self.classification is not None, "the spec's split was not judged"
        return measures.rankings(held.codes, held.probabilities, self.classification.positive_place)


Judged = Judgement | ClassJudgement


def table(metrics: Sequence[tuple[str, str, str, Mapping[str, float]]]) -> pd.DataFrame:
    """Of candidate, split, slice and their metrics, as `Measured` has them."""
    return pd.DataFrame(
        [
            {"candidate": candidate, "split": split, "slice": name, "metric": metric, "value": value}
            for candidate, split, name, measured in metrics
            for metric, value in measured.items()
        ]
    )
