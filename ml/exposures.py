"""What dbt's exposures of `type: ml` ask for, from dbt's manifest, and what is wrong with them, in sentences."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ml import classes, environments, estimators
from ml.columns import LEVELS, Kind, is_boolean, kind_of
from ml.errors import TractError
from ml.lake.sql import is_key, is_numeric
from ml.metrics import METRICS, Metric, Task
from ml.spec import (
    ALL_ROWS,
    BINNED,
    NOT_LEARNING,
    OWN,
    RENAMED,
    TAGS,
    UNBINNED,
    UNREPEATED,
    BacktestSpec,
    CandidateSpec,
    FeaturesSpec,
    NotifySpec,
    PredictionsSpec,
    Range,
    SearchSpec,
    Spec,
)

# The database in which dbt builds what can be learned from.
LAKE = "lake"
# Cells of a sample whose number of rows the spec leaves open: 400 MB of doubles. What is learned depends on the number,
# and rows, spec and code alone are to decide it: so it follows from the table's width, and not from the memory of the
# machine that happens to learn. 24,987 rows of 2,000 features; from 99 features down, the most.
SAMPLE_CELLS = 50_000_000
LEAST_SAMPLE, MOST_SAMPLE = 10_000, 500_000
# The most where no candidate holds rows, and the sample judges alone: an RMSE of so many is known to 0.3 % or so, and
# 300,000 rows more cost 1.5 of the 16 s that 10 million take.
JUDGED_SAMPLE = 200_000
# dbt's materializations that keep no rows.
NO_TABLES = ("view", "ephemeral", "materialized_view", "external")
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
# The source table of the dbt package whose meta carries the variable `notify`, as the project sets it.
NOTICES = "source.tract.ops.notices"
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


class SpecError(TractError):
    """An exposure does not fit; the message names exposure, field, what was found and what is allowed."""


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
    column_descriptions: Mapping[str, str] = dataclasses.field(default_factory=dict)
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


def read_exposures(manifest: Mapping[str, Any]) -> tuple[Exposure, ...]:
    """The exposures of `type: ml` that carry `meta.ml`, from dbt's manifest (its `exposures`, `nodes` and `sources`).

    Who says nothing of `notify` tells those whom the project's variable of that name says.

    Args:
        manifest: With `environment`, the target, where it is not production's.

    Raises:
        SpecError: Everything that does not fit, all exposures together, a line each.
    """
    asked: dict[str, Exposure] = {}
    wrong = []
    notify = manifest.get("sources", {}).get(NOTICES, {}).get("config", {}).get("meta", {}).get("notify") or ()
    for node in manifest["exposures"].values():
        meta = {**node.get("meta", {}), **node.get("config", {}).get("meta", {})}
        if node["type"] != "ml" or "ml" not in meta:
            continue
        where = f"Exposure {node['name']} ({node['original_file_path']})"
        try:
            asked[where] = _exposure(where, node, meta["ml"], manifest, notify)
        except SpecError as error:
            wrong.append(str(error))
    found = []
    for where, exposure in asked.items():
        targets = {other.spec.target for other in asked.values() if other.unique_id == exposure.unique_id}
        found.append(dataclasses.replace(exposure, predicted_by_others=frozenset(targets - {exposure.spec.target})))
        wrong.extend(f"{where}: {sentence}" for sentence in _contradictions(found[-1]))
    if not wrong:
        wrong = _shared_tables(found)
    if wrong:
        raise SpecError("\n".join(wrong))
    return tuple(sorted(found, key=lambda exposure: exposure.name))


def doubts(exposures: Iterable[Exposure]) -> list[str]:
    """A sentence for each candidate whose estimator is not to be found: it will not compete, which keeps no other."""
    return [
        f"Exposure {exposure.name}: candidate {recipe.name} cannot compete, as {path} is not to be found: "
        f"{why}. Write its estimator as package.module.Name, {estimators.installing(path)}, or say `enabled: false`."
        for exposure in exposures
        for recipe in exposure.spec.recipes
        if (path := recipe.path(exposure.task)) and (why := estimators.missing(path))
    ]


def _exposure(
    where: str, node: Mapping[str, Any], said: object, manifest: Mapping[str, Any], notify: object
) -> Exposure:
    parents = node["depends_on"]["nodes"]
    if len(parents) != 1 or not parents[0].startswith("model."):
        raise SpecError(
            f"{where}: depends_on names {', '.join(parents) or 'nothing'}. "
            "It must be exactly one model, the table to learn from."
        )
    model = manifest["nodes"][parents[0]]
    columns = {c["name"]: str(c["data_type"] or "").upper() for c in model["columns"].values()}
    if not model["config"].get("contract", {}).get("enforced"):
        raise SpecError(
            f"{where}: {model['name']} has no enforced contract. "
            "Set `contract: {enforced: true}` and name its columns with their types."
        )
    if (materialized := model["config"].get("materialized", "table")) in NO_TABLES:
        raise SpecError(
            f"{where}: {model['name']} is materialized as {materialized}, which keeps no rows of its own to go back "
            "to. Materialize it as `table` or `incremental`."
        )
    if (database := model.get("database", LAKE)) != LAKE:
        raise SpecError(
            f"{where}: {model['name']} is built in the database {database}. It must be built in `{LAKE}`, whose "
            "snapshots are learned from: leave its `database` out."
        )
    if not isinstance(said, Mapping):
        raise SpecError(f"{where}: meta.ml is {said!r}. It must be a mapping with key, target and candidates.")
    try:
        spec = Spec.model_validate({"notify": notify, **said})
    except ValidationError as error:
        found = error.errors()
        # a list with a wrong item is also said to be too short: the item alone says what is wrong
        inner = [e for e in found if not any(_inside(o["loc"], e["loc"]) for o in found)]
        sentences = [f"{where}: {_sentence(e)}" for e in inner]
        if "notify" not in said:
            sentences = [one.replace("meta.ml.notify", "the variable of dbt tract.notify") for one in sentences]
        raise SpecError("\n".join(sentences)) from None
    return Exposure(
        name=environments.lake_name(manifest.get("environment", environments.PRODUCTION), node["name"]),
        owner=node["owner"].get("name") or _email(node["owner"]) or "",
        owner_email=_email(node["owner"]),
        description=node.get("description", ""),
        unique_id=parents[0],
        relation=f"{model['schema']}.{model['alias']}",
        columns=columns,
        spec=spec,
        # less its examples, which are for dbt's docs
        relation_description=re.sub(r"```.*?```", "", model.get("description", ""), flags=re.DOTALL).strip(),
        column_descriptions={c["name"]: c.get("description", "") for c in model["columns"].values()},
    )


def _email(owner: Mapping[str, Any]) -> str | None:
    """The owner's address; of several, which dbt allows, the first."""
    email = owner.get("email")
    return str(email[0]) if isinstance(email, list) and email else email or None


# The models inside a spec, by the field that holds them, outermost first.
NESTED: dict[str, type[BaseModel]] = {
    "candidates": CandidateSpec,
    "search": SearchSpec,
    "space": Range,
    "features": FeaturesSpec,
    "backtest": BacktestSpec,
    "predictions": PredictionsSpec,
    "notify": NotifySpec,
}


def _inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _sentence(error: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in error["loc"] if part not in TAGS)
    if error["type"] == "extra_forbidden":
        if field in RENAMED:
            return f"meta.ml.{field} is called meta.ml.{RENAMED[field]} now."
        inside = [model for part, model in NESTED.items() if part in error["loc"][:-1]]
        allowed = (inside[-1] if inside else Spec).model_fields
        return f"meta.ml.{field} is not known. Allowed: {', '.join(allowed)}."
    if error["type"] == "missing":
        description = Spec.model_fields[field].description if field in Spec.model_fields else "it is required"
        return f"meta.ml.{field} is missing ({description})."
    if error["type"] == UNREPEATED:
        return f"meta.ml.{field} {error['msg']}."
    if not field:
        return f"meta.ml: {error['msg'].removeprefix('Value error, ')}."
    given = repr(error["input"])
    if error["loc"][0] == "notify" and "//" in given:
        given = "not to be repeated, as it may be a secret"
    return f"meta.ml.{field} is {given}. {error['msg'].removeprefix('Value error, ')}."


def _contradictions(exposure: Exposure) -> Iterator[str]:
    """What does not fit between the settings, and between them and the table's contract: a sentence each."""
    roles = list(_unfit_roles(exposure))
    yield from roles
    yield from _unfit_settings(exposure)
    if exposure.spec.target in exposure.columns:  # else nothing is known of the task
        yield from _unfit_task(exposure)
    if not roles:  # else a column may be no feature at all
        yield from _unfit_columns(exposure)


def _named_columns(exposure: Exposure) -> str:
    return f"Columns of {exposure.relation}: {', '.join(exposure.columns)}."


def _unfit_roles(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    roles = [*(("key", name) for name in spec.key_columns), ("target", spec.target), ("group", spec.group)]
    for field, name in roles:
        if name is not None and name not in columns:
            yield f"meta.ml.{field} is '{name}', which is no column. {allowed}"
    if spec.target in (*spec.key_columns, spec.group) or spec.group == spec.key:
        named = [*spec.key_columns, spec.target, *([spec.group] if spec.group else [])]
        yield (
            f"key, target and group must be columns of their own, not {', '.join(named)}; only a key of several "
            "columns may hold the group."
        )
    if spec.split == "group" and spec.group is None:
        yield f"meta.ml.split is 'group', but meta.ml.group names no column. {allowed}"
    yield from _unfit_weight(exposure)
    yield from _unfit_time(exposure)


def _unfit_weight(exposure: Exposure) -> Iterator[str]:
    spec, kind = exposure.spec, exposure.columns.get(exposure.spec.weight or "")
    if spec.weight is None:
        return
    if kind is None:
        yield f"meta.ml.weight is '{spec.weight}', which is no column. {_named_columns(exposure)}"
    elif not is_numeric(kind):
        yield (
            f"meta.ml.weight is '{spec.weight}', which is {kind}. It must be a number: cast it where the "
            "table is built."
        )
    if spec.weight in (*spec.key_columns, spec.target):
        yield f"meta.ml.weight is '{spec.weight}', which is key or target: a weight is a column of its own."


def _unfit_time(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    if spec.time is not None and spec.time not in columns:
        yield f"meta.ml.time is '{spec.time}', which is no column. {allowed}"
    elif spec.time is not None and kind_of(columns[spec.time]) != "date":
        yield (
            f"meta.ml.time is '{spec.time}', which is {columns[spec.time]}. It must be a date or a timestamp: cast it "
            "where the table is built."
        )
    if spec.split == "time":
        if spec.time is None:
            yield f"meta.ml.split is 'time', but meta.ml.time names no column. {allowed}"
        if "folds" in spec.model_fields_set:
            yield "meta.ml.folds deals rows by chance, and meta.ml.split is 'time': say meta.ml.backtest.folds."
        if PERIOD in spec.slices:
            yield f"meta.ml.slices names '{PERIOD}', which is what meta.ml.split: time calls its slices: rename it."
    elif "backtest" in spec.model_fields_set:
        yield f"meta.ml.backtest is for meta.ml.split: time, and the split is '{spec.split}': leave one of them out."


def _unfit_settings(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    for field in ("include", "exclude"):
        for name in getattr(spec.features, field):
            if name not in columns:
                yield f"meta.ml.features.{field} names '{name}', which is no column. {allowed}"
            elif field == "include" and name in spec.roles:
                yield (
                    f"meta.ml.features.include names '{name}', which is key, target, group, time or weight: those are "
                    "no features. Give what is learned from a column of its own where the table is built."
                )
    for name in spec.features.categorical:
        kind = columns.get(name)
        if kind is None:
            yield f"meta.ml.features.categorical names '{name}', which is no column. {allowed}"
        elif kind_of(kind, categorical=True) not in LEVELS:
            yield (
                f"meta.ml.features.categorical names '{name}', which is {kind}, no number. Cast it to varchar where "
                "the table is built: each text is a level of its own."
            )
    for name in spec.map_columns or ():
        if not is_numeric(columns.get(name, "")):
            found = f"{columns[name]}, not a number" if name in columns else "no column"
            yield f"meta.ml.map_columns names '{name}', which is {found}. {allowed}"
    yield from _unfit_rows(spec, exposure.task)
    if spec.predictions_table in OWN_TABLES or spec.predictions_table.startswith(BESIDE_PREDICTIONS):
        yield (
            f"meta.ml.predictions is '{spec.predictions_table}', a table that ml keeps for itself. Name another; "
            f"taken are {', '.join(sorted(OWN_TABLES))}, and all that begin with {', '.join(BESIDE_PREDICTIONS)}."
        )


def _unfit_rows(spec: Spec, task: Task) -> Iterator[str]:
    """What does not fit to `max_rows: all`."""
    if spec.max_rows != ALL_ROWS:
        return
    binned = [recipe for recipe in spec.recipes if recipe.path(task) in BINNED]
    if not binned and not any(recipe.name in OWN for recipe in spec.recipes):
        named = ", ".join(recipe.name for recipe in spec.recipes)
        yield (
            f"meta.ml.max_rows is '{ALL_ROWS}', and no candidate learns from all rows: {named} hold what they learn "
            f"from. Add one whose estimator is {' or '.join(BINNED)}, or give a number of rows."
        )
    for recipe in binned:
        searched = recipe.search.space if recipe.search else {}
        for name in dict.fromkeys([*recipe.chosen, *searched]):
            if name in UNBINNED:
                yield (
                    f"meta.ml.candidates: {recipe.name} has the parameter {name}, which LightGBM does not take with "
                    f"binned rows, and meta.ml.max_rows is '{ALL_ROWS}': leave the parameter out, or give a number of "
                    "rows. Texts and columns named in features.categorical are categories by themselves, and a "
                    "class counts by meta.ml.weight."
                )


def _unfit_task(exposure: Exposure) -> Iterator[str]:
    """What does not fit between the task, the type of the target, and the settings that are of one task alone."""
    spec, task = exposure.spec, exposure.task
    kind = exposure.columns[spec.target]
    target = f"the target {spec.target} of {exposure.relation} is {kind}"
    number = is_numeric(kind)
    if task == "regression" and classes.by_nature(kind):
        yield (
            f"meta.ml.task is 'regression', and {target}: it has classes. Leave meta.ml.task out, or cast the column "
            "to a number where the table is built."
        )
    elif task == "regression" and not number:
        yield (
            f"{target}, neither a number nor a class. Cast it where the table is built: numbers are predicted as such, "
            "booleans, texts and enums as classes."
        )
    elif task == "classification" and not classes.are_classes(kind):
        what = "no integer that fits into 64 bits" if number else "no class"
        yield (
            f"meta.ml.task is 'classification', and {target}, {what}. Classes are booleans, texts, enums or integers: "
            "cast it where the table is built."
        )
    if spec.metric and spec.metric not in METRICS[task]:
        yield f"meta.ml.metric is '{spec.metric}', and the task is {task}: allowed are {', '.join(METRICS[task])}."
    for recipe in spec.candidates:
        if OWN.get(recipe.name, task) != task:
            yield (
                f"meta.ml.candidates names '{recipe.name}', which is for {OWN[recipe.name]}, and the task is {task}: "
                f"take {' or '.join(name for name, its in OWN.items() if its == task)}, gradient_boosting, or an "
                "estimator by its path."
            )
    if task == "regression" and spec.positive is not None:
        yield f"meta.ml.positive is {spec.positive!r}, which is for classes, and the task is {task}: leave it out."
    if task == "classification":
        yield from _unfit_for_classes(exposure, kind)


def _unfit_for_classes(exposure: Exposure, kind: str) -> Iterator[str]:
    spec = exposure.spec
    for field in ("minimum", "unit", "alpha_by"):
        if field in spec.model_fields_set:
            yield f"meta.ml.{field} is for numbers, and the task is classification: leave it out."
    is_text = kind_of(kind) == "text"
    needed = "true or false" if is_boolean(kind) else "a text" if is_text else "a whole number"
    if spec.positive is not None and classes.are_classes(kind) and not classes.fits(spec.positive, kind):
        quotes = " YAML reads yes, no, on, off, true and false as booleans: put it in quotes." if is_text else ""
        yield (
            f"meta.ml.positive is {spec.positive!r}, and the target {spec.target} is {kind}: it must be {needed}."
            f"{quotes}"
        )


def _unfit_columns(exposure: Exposure) -> Iterator[str]:
    """Names and types of the contract's columns that do not fit their roles, which are columns of it."""
    spec, columns, relation = exposure.spec, exposure.columns, exposure.relation
    taken = [name for name in columns if name.lower() in TAKEN]
    beside_key = TAKEN_BESIDE_KEY if exposure.task == "regression" else TAKEN_BY_CLASSES
    if taken := taken or [name for name in spec.key_columns if name.lower() in beside_key]:
        yield (
            f"column {taken[0]} of {relation} has a name that ml gives to a column of its own. "
            f"Rename it; taken are {', '.join(TAKEN)}, and for the key {', '.join(beside_key)}."
        )
    for name in spec.key_columns:
        if not is_key(columns[name]):
            yield (
                f"the key {name} of {relation} is {columns[name]}, which the lake does not keep as it is. Cast it to "
                "varchar where the table is built; keys are integers of up to 64 bits, decimals, floats, texts, UUIDs, "
                "dates, times, timestamps or blobs."
            )
    kinds = exposure.kinds  # made anew each time
    for name in exposure.features:
        if name not in kinds:
            yield (
                f"column {name} of {relation} is {columns[name]}, from which nothing is learned: numbers, booleans, "
                "dates, timestamps, texts and enums are learned from. Features are the contract's columns less key, "
                "target, group, time and weight, and less what other exposures on the table predict: cast it where the "
                "table is built, or name it in meta.ml.features.exclude."
            )
    if not exposure.features:
        yield f"{relation} has no column left to learn from. {_named_columns(exposure)}"


def _shared_tables(found: list[Exposure]) -> list[str]:
    """A table of predictions has its key's name and type, and its classes': who share one must share both."""
    first: dict[str, Exposure] = {}
    wrong = []
    for exposure in found:
        other = first.setdefault(exposure.spec.predictions_table, exposure)
        ours, theirs = (
            ", ".join(f"{name} {e.columns[name]}" for name in e.spec.key_columns) for e in (exposure, other)
        )
        if ours != theirs:
            wrong.append(
                f"Exposure {exposure.name}: its key is {ours}, but ml.{exposure.spec.predictions_table} "
                f"has the key {theirs} of exposure {other.name}. Name another table in meta.ml.predictions."
            )
        elif exposure.predicted_columns != other.predicted_columns:
            ours, theirs = (_predicted(e) for e in (exposure, other))
            wrong.append(
                f"Exposure {exposure.name}: it predicts {ours}, but ml.{exposure.spec.predictions_table} has {theirs} "
                f"of exposure {other.name}. Name another table in meta.ml.predictions."
            )
    return wrong


def _predicted(exposure: Exposure) -> str:
    if exposure.task == "regression":
        return "numbers"
    return f"classes of type {classes.stored_as(exposure.columns[exposure.spec.target])}"
