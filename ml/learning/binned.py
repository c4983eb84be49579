"""LightGBM on all rows: record batches become bins, a byte a cell, and nothing else of the features is held.

LightGBM is an extra: who asks for it imports this module.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from joblib import delayed
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from ml import classes, memory
from ml.arrays import Matrix
from ml.columns import LEVELS, read_sql
from ml.lake.engine import Here
from ml.lake.sql import listed, quoted
from ml.learning.candidates import Fitted, by_folds, named
from ml.learning.encoding import STEP
from ml.learning.fits import predictions, probabilities
from ml.learning.published import CODE
from ml.learning.training_set import TrainingSet
from ml.learning.workers import threads
from ml.linear.encoder import reading
from ml.progress import Progress, Say

# Cells of a batch, 16 MB of doubles: 181,818 rows of 11 features.
BATCH_CELLS = 2_000_000
# Levels of a column that are told apart, the most frequent of the sample: with missing ones they fit into a byte. The
# others, and those never seen, are as NULL.
MOST_LEVELS = 254
# Names that LightGBM takes as they are: others it refuses, or changes.
PLAIN_NAME = re.compile(r"\w+")
# What LightGBM is told, by the names under which a person may have said another thing. Left to itself, it times both
# ways of adding up histograms and takes the faster, whose last digits differ. By columns it holds no second copy of the
# bins, and adds in the same order on any number of threads: 6.9 s for 100 trees on a million rows of 11 features, by
# rows 6.1. What cannot be split in the sample that bins are made of can perhaps be split in all rows.
SETTLED: dict[tuple[str, ...], tuple[str, Any]] = {
    ("deterministic",): ("deterministic", True),
    ("force_col_wise", "force_row_wise"): ("force_col_wise", True),
    ("feature_pre_filter",): ("feature_pre_filter", False),
    ("verbosity", "verbose"): ("verbosity", -1),
}
# Rows without content that scikit-learn's attributes are learned from: enough for those who draw a part of them.
EMPTY_ROWS = 100

Places = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """All rows that have their answer, in the order of their key.

    Attributes:
        dataset: LightGBM's, constructed, with answers and weights; of classes the answers are their places.
        cells: Of each row, shape (rows,): see `TrainingSet.cell`.
        answers: Shape (rows,).
    """

    dataset: lightgbm.Dataset
    cells: npt.NDArray[np.uint16]
    answers: npt.NDArray[np.float32]


class Binned:
    """A regressor or classifier of LightGBM, fitted on all rows; the sampled ones judge it.

    The bins are those of the sample's features, as LightGBM makes them of a sample of its own, and the same for all
    fits: each learns from a part of the binned rows.

    Args:
        estimator: Unfitted, as `unfitted.estimator` makes it of unencoded columns.
        expected: As of `candidates.FromRows`.
    """

    def __init__(
        self,
        name: str,
        con: duckdb.DuckDBPyConnection,
        estimator: Any,
        training: TrainingSet,
        say: Say,
        expected: bool = False,
    ) -> None:
        self.name, self.con, self.training, self.say = name, con, training, say
        said = estimator.get_params()
        ours = dict(value for names, value in SETTLED.items() if not set(names) & set(said))
        self.estimator = estimator.set_params(**ours)
        self.encoder = encoder(training)
        self.expected = expected
        self.binned: Rows | None = None
        self.made: list[Any] = []

    def held_out(self, split: str) -> Matrix:
        """See `candidates.Candidate`."""
        with named(self):
            rows = self._rows()
            return by_folds(
                self,
                split,
                threads(self._cores()),
                lambda number: delayed(self._hold_out)(rows, split, number),
                lambda: delayed(self._served)(rows),
            )

    def fit(self) -> Fitted:
        """See `candidates.Candidate`."""
        if not self.made:
            with named(self):
                self.made.append(self._served(self._rows()))
        self.binned = None  # nothing is fitted after what serves; predicting wants the memory
        memory.give_back(self.con)
        return Fitted(self.made[0], {"rows": self.training.served.n})

    def _cores(self) -> int:
        return Here(self.con).threads

    def _rows(self) -> Rows:
        if self.binned is None:
            self.binned = read(self.con, self.training, self.estimator, self.encoder, self.say)
        return self.binned

    def _served(self, rows: Rows) -> Any:
        return self._fitted(rows, _places(self.training.served_cells, rows))

    def _hold_out(self, rows: Rows, split: str, number: int) -> Matrix:
        training = self.training
        fitted = self._fitted(rows, _places(training.learned_cells(split, number), rows))
        held = training.features[training.fold(split) == number]
        return probabilities(fitted, held, training.classes) if training.classes else predictions(fitted, held)

    def _fitted(self, rows: Rows, places: Places) -> Any:
        """The estimator fitted on rows that are given by their places, rising; with the encoder before it."""
        fitted = fit(self.estimator, rows, places, self.training, self.encoder is None)
        return fitted if self.encoder is None else Pipeline([(STEP, self.encoder), (self.name, fitted)])


def _places(cells: npt.NDArray[np.bool_], rows: Rows) -> Places:
    """The places of the rows in some cells, rising."""
    return np.flatnonzero(cells[rows.cells]).astype(np.int32)


def encoder(training: TrainingSet) -> ColumnTransformer | None:
    """What makes numbers of a frame of raw columns, NaN for NULL, and of levels their places; None where nothing need
    be made of it.

    Levels are counted without the target, so all fits share it.
    """
    kinds, features = training.exposure.kinds, training.features
    if training.plain and all(map(PLAIN_NAME.fullmatch, kinds)):
        return None
    parts = []
    for kind in dict.fromkeys(kinds.values()):
        columns = [name for name in kinds if kinds[name] == kind]
        steps: list[Any] = [*reading(kind)]
        if kind in LEVELS:
            levels = [_frequent(features[name]) or ([""] if kind == "text" else [0.0]) for name in columns]
            known = [np.array(some, object if kind == "text" else np.float64) for some in levels]
            unknown = {"unknown_value": np.nan, "encoded_missing_value": np.nan}
            steps.append(OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", **unknown))
        parts.append((kind, make_pipeline(*steps), columns))
    return ColumnTransformer(parts).fit(features.head(EMPTY_ROWS))


def _frequent(column: "pd.Series[Any]") -> list[Any]:
    """The most frequent values, rising; of equally frequent ones the least."""
    counts = column.dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return sorted(counts.index[:MOST_LEVELS].tolist())


def read(
    con: duckdb.DuckDBPyConnection,
    training: TrainingSet,
    estimator: Any,
    made: ColumnTransformer | None,
    say: Say,
) -> Rows:
    """All rows, binned, in one scan.

    They come in the order of their key, not of the table's files: what is learned depends on it, in the last digits.

    Args:
        estimator: Whose parameters decide the bins.
        made: Of raw columns, as `encoder` gives it.
    """
    memory.give_back(con)
    exposure, count = training.exposure, training.whole.n
    kinds, key = exposure.kinds, listed(exposure.spec.key_columns, of="published")
    answers, weights = np.empty(count, np.float32), None if training.weight is None else np.empty(count, np.float32)
    cells = np.empty(count, np.uint16)
    beside = [f"cast({quoted(CODE if training.classes else exposure.spec.target)} as double)", training.cell]
    if training.weight:
        beside.append(training.weight)
    batches = con.execute(
        f"select {read_sql(kinds)}, {', '.join(beside)} from {training.folded} as published order by {key}"
    ).to_arrow_reader(max(1_000, BATCH_CELLS // len(kinds)))
    progress = Progress(say, "binning", count)

    def matrices() -> Iterator[Matrix]:
        for batch in batches:
            rows = slice(progress.done, progress.done + batch.num_rows)
            said = [column.to_numpy(zero_copy_only=False) for column in batch.columns[len(kinds) :]]
            answers[rows], cells[rows] = said[:2]
            if weights is not None:
                weights[rows] = said[2]
            progress.advance(batch.num_rows)
            yield _matrix(batch.select(list(range(len(kinds)))), made)

    parameters, _ = _parameters(estimator, training)
    told: dict[str, Any] = {"params": parameters, **_names(training, made)}
    sample = _numbers(training.features, made)
    bins = lightgbm.Dataset(sample, label=np.zeros(len(sample), np.float32), **told)
    dataset = lightgbm.Dataset(_Stream(matrices(), count), label=np.zeros(count, np.float32), reference=bins, **told)
    dataset.construct()
    dataset.reference = None
    memory.give_back(con)
    dataset.set_label(answers)
    if weights is not None:
        dataset.set_weight(weights)
    return Rows(dataset, cells, answers)


class _Stream(lightgbm.Sequence):  # type: ignore[misc]  # lightgbm need not be there
    """Rows that are asked for once, from the first to the last."""

    def __init__(self, matrices: Iterator[Matrix], rows: int) -> None:
        self.matrices, self.rows = matrices, rows
        self.ahead = next(self.matrices)
        self.batch_size = len(self.ahead)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> Matrix:
        parts, wanted = [self.ahead], rows.stop - rows.start
        while (found := sum(map(len, parts))) < wanted:
            parts.append(next(self.matrices))
        joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
        self.ahead = joined[wanted:] if found > wanted else next(self.matrices, joined[wanted:])
        return np.ascontiguousarray(joined[:wanted])


def _matrix(batch: pa.RecordBatch, made: ColumnTransformer | None) -> Matrix:
    """The features of a batch as LightGBM takes them, shape (rows, features)."""
    if made is not None:
        return _numbers(batch.to_pandas(), made)
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])


def _numbers(features: pd.DataFrame, made: ColumnTransformer | None) -> Matrix:
    return np.ascontiguousarray(features if made is None else made.transform(features), np.float64)


def _names(training: TrainingSet, made: ColumnTransformer | None) -> dict[str, Any]:
    """What the columns are called, where LightGBM takes their names, and the places of those that have levels."""
    kinds = training.exposure.kinds
    if made is None:
        return {"feature_name": list(kinds), "categorical_feature": []}
    columns = [name for _, _, names in made.transformers_ for name in names if name in kinds]
    places = [place for place, name in enumerate(columns) if kinds[name] in LEVELS]
    taken = all(map(PLAIN_NAME.fullmatch, columns))
    return {"feature_name": columns if taken else "auto", "categorical_feature": places}


def _parameters(estimator: Any, training: TrainingSet) -> tuple[dict[str, Any], int]:
    """The parameters as LightGBM's own functions take them, and the number of rounds."""
    said = estimator.get_params()
    rounds = said.pop("n_estimators")
    for name in ("importance_type", "class_weight"):  # scikit-learn's own
        said.pop(name)
    if said.get("objective") is None:
        said["objective"] = {0: "regression", 2: "binary"}.get(len(training.classes), "multiclass")
    if len(training.classes) > 2:
        said["num_class"] = len(training.classes)
    return said, rounds


def fit(estimator: Any, rows: Rows, places: Places, training: TrainingSet, named_columns: bool) -> Any:
    """A clone of the estimator as its `fit` leaves it, of rows that are given by their places, rising.

    Rows of one class teach a classifier nothing but that class.

    Args:
        named_columns: Whether it sees a frame of the features, and no array.
    """
    width = len(training.exposure.features)
    if training.classes:
        known = classes.array(training.classes)
        if len(seen := np.unique(rows.answers[places]).astype(np.int64)) == 1:
            return DummyClassifier(strategy="prior").fit(np.zeros((1, width)), known[seen])
        answers = np.repeat(known, EMPTY_ROWS)
    else:
        answers = np.ones(EMPTY_ROWS)
    parameters, rounds = _parameters(estimator, training)
    part = rows.dataset
    if len(places) < len(rows.answers):
        part = lightgbm.Dataset(None, reference=rows.dataset, params=parameters)
        part.used_indices = places  # `subset` would sort them as a list: 320 MB of eight million rows
    booster = lightgbm.train(parameters, part, num_boost_round=rounds)
    # All that scikit-learn sets is set by a fit on nothing; then the trees are put in the place of its one.
    empty = np.zeros((len(answers), width))
    fitted = clone(estimator).set_params(n_estimators=1)
    fitted.fit(pd.DataFrame(empty, columns=list(training.exposure.features)) if named_columns else empty, answers)
    fitted.set_params(n_estimators=rounds)
    fitted._Booster = booster
    return fitted
