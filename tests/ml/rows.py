"""Frames as a published table, in a plain DuckDB: what learners are tested on without a lake."""

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd

from ml.exposures import Exposure
from ml.learning import candidates, training_set
from ml.learning.candidates import Candidate
from ml.learning.training_set import TrainingSet
from ml.records.publications import Publication
from ml.spec import CandidateSpec


@dataclass(frozen=True)
class Rows(Publication):
    """A publication whose rows are the table `published` of a plain DuckDB."""

    @property
    def table(self) -> str:
        return "published"

    def without_nulls(self, con: duckdb.DuckDBPyConnection) -> set[str]:
        """None that is known of: a plain DuckDB keeps no statistics."""
        return set()


def silent(sentence: str) -> None:
    """Say nothing."""


def frame(rows: int = 200, seed: int = 0, noise: float = 1.0) -> pd.DataFrame:
    """Rows that fit the exposure `points`, in twelve cells."""
    random = np.random.default_rng(seed)
    a, b = random.uniform(0, 10, rows), random.uniform(0, 5, rows)
    return pd.DataFrame(
        {
            "id": [f"k{i}" for i in range(rows)],
            "cell": [f"c{i % 12}" for i in range(rows)],
            "a": a,
            "b": b,
            "y": 100 + 3 * a - 2 * b + noise * random.normal(size=rows),
        }
    )


def published(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> Rows:
    """The frame as a published table of the connection."""
    con.execute("create or replace table published as from rows")
    return Rows("points@1", "features.points", 1, "", "", len(rows), "", "", None, datetime.now(UTC))


def trained_on(rows: pd.DataFrame, exposure: Exposure, threads: int = 1) -> TrainingSet:
    """The training set of a frame, on one thread: the same bits each time."""
    with duckdb.connect(config={"threads": threads}) as con:
        return training_set.read(con, exposure, published(con, rows), silent)


def candidate(name: str, training: TrainingSet) -> Candidate:
    """A known candidate on a training set whose sample is all its rows."""
    con = duckdb.connect(config={"threads": 1})
    published(con, training.sample)
    return candidates.build(CandidateSpec(name=name), con, training, silent)
