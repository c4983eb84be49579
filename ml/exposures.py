"""What an exposure asks for, and the columns and tables that are ml's own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml import classes, environments
from ml.columns import Kind, kind_of
from ml.metrics import METRICS, Metric, Task
from ml.spec import (
    NOT_LEARNING,
    Spec,
)

# Cells of a sample whose number of rows the spec leaves open: 400 MB of doubles. What is learned depends on the number,
# and rows, spec and code alone are to decide it: so it follows from the table's width, and not from the memory of the
# machine that happens to learn. 24,987 rows of 2,000 features; from 99 features down, the most.
SAMPLE_CELLS = 50_000_000
LEAST_SAMPLE, MOST_SAMPLE = 10_000, 500_000
# The most where no candidate holds rows, and the sample judges alone: an RMSE of so many is known to 0.3 % or so, and
# 300,000 rows more cost 1.5 of the 16 s that 10 million take.
JUDGED_SAMPLE = 200_000
# Columns that ml puts beside the published ones while it learns and predicts.
TAKEN = (
    "prediction",
    "half width",
    "in the sample",
    "block of rows",
    "random fold",
    "group fold",
    "time fold",
    "time cell",
    "moment in microseconds",
    "weight of the row",
    "code of the class",
    "probability of the second class",
)
# The columns of a table of predictions, and of held-out ones, beside the key, as DDL. Of the mean there is no interval.
PREDICTIONS = {
    "exposure": "varchar not null",
    "publication_id": "varchar not null",
    "prediction": "double not null",
    "lower": "double not null",
    "upper": "double not null",
    "version_id": "varchar not null",
    "predicted_at": "timestamptz not null",
}
HELDOUT = {
    "exposure": "varchar not null",
    "version_id": "varchar not null",
    "candidate": "varchar not null",
    "split": "varchar not null",
    "fold": "integer not null",
    "actual": "double not null",
    "predicted": "double not null",
    "lower": "double",
    "upper": "double",
}
# What begins the names of the tables, and the view, that stand beside a table of predictions.
BESIDE_PREDICTIONS = ("heldout_", "removed_", "current_")
REMOVED = {
    "exposure": "varchar not null",
    "publication_id": "varchar not null",
    "version_id": "varchar not null",
    "removed_at": "timestamptz not null",
}
# The same of classes. `prediction` is of the target's own type: `Exposure.predicted_columns` says it.
CLASSES = {
    "exposure": "varchar not null",
    "publication_id": "varchar not null",
    "prediction": "varchar not null",
    "probability": "double not null",
    "probabilities": "map(varchar, double) not null",
    "prediction_set": "varchar[] not null",
    "version_id": "varchar not null",
    "predicted_at": "timestamptz not null",
}
HELDOUT_CLASSES = {
    "exposure": "varchar not null",
    "version_id": "varchar not null",
    "candidate": "varchar not null",
    "split": "varchar not null",
    "fold": "integer not null",
    "actual": "varchar not null",
    "predicted": "varchar not null",
    "probabilities": "map(varchar, double) not null",
    "prediction_set": "varchar[]",
}
# The slice of a split by time that the spec need not name.
PERIOD = "period"
TAKEN_BESIDE_KEY = tuple(dict.fromkeys((*PREDICTIONS, *HELDOUT)))
TAKEN_BY_CLASSES = tuple(dict.fromkeys((*CLASSES, *HELDOUT_CLASSES)))
# What stands in the schema ml beside them, so that no exposure may take the name; a test holds it to tables.sql.
OWN_TABLES = frozenset(
    (
        "champions",
        "drift",
        "feature_importance",
        "live_errors",
        "model_cards",
        "model_metrics",
        "model_versions",
        "partial_dependence",
        "promotions",
        "scorings",
        "standing_predictions",
        "trials",
    )
)


@dataclass(frozen=True)
class Exposure:
    """One model that is asked for: who asks, what it learns from, and how.

    Attributes:
        name: As the lake has it: outside production the target's name and a dot stand before that of dbt.
        relation: The learned-from table as `schema.table` of the lake.
        columns: The table's contract: column name to DuckDB type, in order.
        relation_description: What dbt says of the table.
        column_descriptions: What dbt says of its columns, by name.
        predicted_by_others: Columns of it that other exposures predict.
    """

    name: str
    owner: str
    owner_email: str | None
    description: str
    unique_id: str  # of the dbt model that it learns from
    relation: str
    columns: Mapping[str, str]
    spec: Spec
    relation_description: str = ""
    column_descriptions: Mapping[str, str] = field(default_factory=dict)
    predicted_by_others: frozenset[str] = frozenset()

    @property
    def environment(self) -> str:
        """The target that it is of; empty in production."""
        return environments.split(self.name)[0]

    @property
    def name_in_dbt(self) -> str:
        """As dbt has it, the same in every target."""
        return environments.split(self.name)[1]

    @property
    def identifier(self) -> str:
        """Its name where Dagster allows letters, digits and underlines alone."""
        return f"{environments.schema_prefix(self.environment)}{self.name_in_dbt}"

    @property
    def features(self) -> tuple[str, ...]:
        """The contract's columns less those that have a role, what other exposures predict, and what is excluded.

        Where the spec includes some, it is those, in the contract's order.
        """
        chosen = self.spec.features
        others = {*self.spec.roles, *chosen.exclude}
        included = set(chosen.include or set(self.columns) - self.predicted_by_others) - others
        return tuple(column for column in self.columns if column in included)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each feature is to who learns from it."""
        found = {name: self._kind(name) for name in self.features}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _kind(self, name: str) -> Kind | None:
        return kind_of(self.columns[name], name in self.spec.features.categorical)

    @property
    def task(self) -> Task:
        """What is predicted: numbers, or classes, which booleans, texts and enums are where the spec says nothing."""
        by_nature = classes.by_nature(self.columns.get(self.spec.target, ""))
        return self.spec.task or ("classification" if by_nature else "regression")

    @property
    def metric(self) -> Metric:
        """What the gate judges by."""
        return self.spec.metric or METRICS[self.task][0]

    @property
    def sample_rows(self) -> int:
        """How many rows are judged, and seen by learners that hold rows, where there are more."""
        if isinstance(self.spec.max_rows, int):
            return self.spec.max_rows
        by_sums = self.task == "regression" and not self.estimators
        most = JUDGED_SAMPLE if by_sums else MOST_SAMPLE
        return max(LEAST_SAMPLE, min(most, SAMPLE_CELLS // (len(self.features) + 1)))

    @property
    def predicted_columns(self) -> dict[str, str]:
        """The columns of its table of predictions beside the key, as DDL."""
        if self.task == "regression":
            return PREDICTIONS
        return {**CLASSES, "prediction": f"{classes.stored_as(self.columns[self.spec.target])} not null"}

    @property
    def heldout_columns(self) -> dict[str, str]:
        """The same of its table of held-out predictions."""
        return HELDOUT if self.task == "regression" else HELDOUT_CLASSES

    @property
    def heldout(self) -> str:
        """The table of held-out predictions that goes with the table of predictions."""
        return f"heldout_{self.spec.predictions_table}"

    @property
    def estimators(self) -> tuple[str, ...]:
        """The dotted paths of the estimators that may compete, less those that are Tract's own."""
        return tuple(path for recipe in self.spec.recipes if (path := recipe.path(self.task)))

    def revision(self) -> str:
        """12 digits that are others when anything is another that is asked for, also what changes no result."""
        said = {
            "name": self.name,
            "relation": self.relation,
            "columns": dict(self.columns),
            "features": self.features,
            "spec": self.spec.model_dump(),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

    def digest(self) -> str:
        """sha256 of everything that decides what is learned: the spec, the table and its contract."""
        said: dict[str, Any] = {
            "relation": self.relation,
            "columns": dict(self.columns),
            "features": self.features,
            "spec": {**self.spec.model_dump(exclude=NOT_LEARNING), "predictions": self.spec.predictions_table},
        }
        if codes := [name for name, kind in self.kinds.items() if kind == "code"]:
            said["categorical"] = codes
        if not isinstance(self.spec.max_rows, int):  # else the spec says it
            said["sample_rows"] = self.sample_rows
        if self.spec.time:
            said["time"] = self.spec.time
        if self.spec.weight:
            said["weight"] = self.spec.weight
        if self.spec.split == "time":
            said["backtest"] = self.spec.backtest.model_dump()
        if self.task == "classification":
            said["classification"] = self.spec.positive
        if self.metric != METRICS[self.task][0]:
            said["metric"] = self.metric
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
