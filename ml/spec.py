"""What a dbt exposure of `type: ml` asks for: the table it learns from, and the settings in `meta.ml`."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ml.errors import TractError
from ml.lake.sql import is_numeric

# Columns that ml puts beside the published ones while it learns and predicts.
TAKEN = ("prediction", "half", "sampled", "block")
# And those of the tables that carry the key.
TAKEN_BESIDE_KEY = (
    "exposure",
    "publication_id",
    "version_id",
    "lower",
    "upper",
    "predicted_at",
    "candidate",
    "split",
    "fold",
    "actual",
    "predicted",
)
# What may change in a spec without anything being learned anew, in pydantic's words.
NOT_LEARNING: dict[str, Any] = {
    "fresh_within_hours": True,
    "map": True,
    "unit": True,
    "limits": True,
    "candidates": {"__all__": {"search"}},
}
MEAN = "mean"  # the candidate that predicts the mean of its training rows, judged beside the others
RIDGE = "ridge"  # from the warehouse's sums
# Candidates that are known by name, beside ridge.
ESTIMATORS = {"gradient_boosting": "sklearn.ensemble.HistGradientBoostingRegressor"}


class SpecError(TractError):
    """An exposure does not fit; the message names exposure, field, what was found and what is allowed."""


class Range(BaseModel):
    """Numbers between two ends, both possible; whole ones if both ends are whole; evenly by ratio if `log`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low is {self.low} and high {self.high}: low must be less, and above zero where log is")
        return self


class SearchSpec(BaseModel):
    """Parameters that a search may choose anew, and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: dict[str, list[Any] | Range] = Field(min_length=1, description="parameter to values, or to low and high")
    trials: int = Field(30, ge=1, description="recipes tried, the one that is known among them")
    seconds: float = Field(900.0, gt=0, description="no trial starts that would end later")


class CandidateSpec(BaseModel):
    """A recipe that may compete: a known name, or any scikit-learn regressor by its dotted path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", description="what it is called in metrics and versions")
    estimator: str | None = Field(None, description="package.module.Name of a regressor's class or function")
    parameters: dict[str, Any] = Field({}, description="what it is called with")
    found: dict[str, Any] = Field({}, description="parameters that a search found to be better")
    search: SearchSpec | None = Field(None, description="what a search may choose anew")
    enabled: bool = Field(True, description="whether it competes")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, said: object) -> object:
        return {"name": said} if isinstance(said, str) else said

    @model_validator(mode="after")
    def _known(self) -> "CandidateSpec":
        if self.name == MEAN:
            raise ValueError(f"'{MEAN}' is the mean predictor's name: choose another")
        if self.estimator is None and self.name != RIDGE and self.name not in ESTIMATORS:
            known = ", ".join([RIDGE, *ESTIMATORS])
            raise ValueError(f"It is not known ({known} are): give its `estimator` as package.module.Name")
        if self.name == RIDGE and (self.estimator or self.parameters or self.search):
            raise ValueError(f"'{RIDGE}' is fitted from the warehouse's sums and takes nothing: choose another name")
        return self

    @property
    def chosen(self) -> dict[str, Any]:
        """What the estimator is called with: the parameters, less those that a search found better ones for."""
        return {**self.parameters, **self.found}

    def covers(self, other: "CandidateSpec") -> bool:
        """Whether the other is this very recipe, or what a search found for it as it stands."""
        same = (self.name, self.estimator, self.parameters) == (other.name, other.estimator, other.parameters)
        return same and self.found in ({}, other.found)


class Spec(BaseModel):
    """The settings under `config.meta.ml` of an exposure; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(description="column that identifies a row")
    target: str = Field(description="column to be predicted")
    group: str | None = Field(None, description="column whose rows must not be split between train and test")
    split: Literal["random", "group"] = Field("random", description="the question asked: known or new groups")
    candidates: tuple[CandidateSpec, ...] = Field(min_length=1, description="recipes that may compete")
    alpha_by: Literal["loo", "folds"] = Field("loo", description="error that chooses ridge's penalty")
    max_rows: int = Field(200_000, ge=1_000, description="rows that are judged, and that learners in memory see")
    folds: int = Field(5, ge=2, le=100)
    seed: int = Field(0, ge=0, description="of the folds")
    level: float = Field(0.9, gt=0, lt=1, description="share of rows that the interval shall cover")
    minimum: float | None = Field(None, description="what the target cannot be below; intervals end there")
    refresh_margin: float = Field(0.05, ge=0, description="share by which a refresh may be worse")
    significance: float = Field(0.05, gt=0, lt=1, description="chance of no gain below which a challenger wins")
    slices: dict[str, str] = Field({}, description="SQL over the table's columns, whose values are judged apart")
    slice_margin: float = Field(0.05, ge=0, description="share by which a challenger may be worse in a slice")
    fresh_within_hours: float = Field(24.0, gt=0, description="hours within which a publication is expected")
    predictions: str = Field("predictions", pattern="^[a-z_][a-z0-9_]*$", description="table in the schema ml")
    map: tuple[str, str] | None = Field(None, description="columns that are longitude and latitude, in degrees")
    unit: str = Field("", description="the target's unit, as axes and tables name it")
    limits: str = Field("", description="what the data is not, for readers of the model card")

    @model_validator(mode="after")
    def _some_compete(self) -> "Spec":
        if not self.recipes:
            raise ValueError("no candidate is enabled: enable one")
        return self

    @property
    def recipes(self) -> tuple[CandidateSpec, ...]:
        """The candidates that compete."""
        return tuple(candidate for candidate in self.candidates if candidate.enabled)

    @property
    def splits(self) -> tuple[str, ...]:
        """How rows are held out: by group too where the spec names one."""
        return ("random", "group") if self.group else ("random",)


@dataclass(frozen=True)
class Exposure:
    """One model that is asked for: who asks, what it learns from, and how.

    Attributes:
        relation: The learned-from table as `schema.table` of the lake.
        columns: The table's contract: column name to DuckDB type, in order.
        relation_description: What dbt says of the table.
        column_descriptions: What dbt says of its columns, by name.
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

    @property
    def features(self) -> tuple[str, ...]:
        """The contract's columns less key, target and group."""
        return tuple(c for c in self.columns if c not in (self.spec.key, self.spec.target, self.spec.group))

    @property
    def heldout(self) -> str:
        """The table of held-out predictions that goes with the table of predictions."""
        return f"heldout_{self.spec.predictions}"

    def digest(self) -> str:
        """sha256 of everything that decides what is learned: the spec, the table and its contract."""
        said = {
            "relation": self.relation,
            "columns": dict(self.columns),
            "spec": self.spec.model_dump(exclude=NOT_LEARNING),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def exposures(manifest: Mapping[str, Any]) -> tuple[Exposure, ...]:
    """The exposures of `type: ml` that carry `meta.ml`, from dbt's manifest (its `exposures` and `nodes`).

    Raises:
        SpecError: Everything that does not fit, all exposures together, a line each.
    """
    found, wrong = [], []
    for node in manifest["exposures"].values():
        meta = {**node.get("meta", {}), **node.get("config", {}).get("meta", {})}
        if node["type"] != "ml" or "ml" not in meta:
            continue
        try:
            found.append(_exposure(node, meta["ml"], manifest["nodes"]))
        except SpecError as error:
            wrong.append(str(error))
    if not wrong:
        wrong = _shared_tables(found)
    if wrong:
        raise SpecError("\n".join(wrong))
    return tuple(sorted(found, key=lambda exposure: exposure.name))


def _exposure(node: Mapping[str, Any], said: object, models: Mapping[str, Any]) -> Exposure:
    where = f"Exposure {node['name']} ({node['original_file_path']})"
    parents = node["depends_on"]["nodes"]
    if len(parents) != 1 or not parents[0].startswith("model."):
        raise SpecError(
            f"{where}: depends_on names {', '.join(parents) or 'nothing'}. "
            "It must be exactly one model, the table to learn from."
        )
    model = models[parents[0]]
    columns = {c["name"]: str(c["data_type"] or "").upper() for c in model["columns"].values()}
    if not model["config"].get("contract", {}).get("enforced"):
        raise SpecError(
            f"{where}: {model['name']} has no enforced contract. "
            "Set `contract: {enforced: true}` and name its columns with their types."
        )
    if not isinstance(said, Mapping):
        raise SpecError(f"{where}: meta.ml is {said!r}. It must be a mapping with key, target and candidates.")
    try:
        spec = Spec.model_validate(said)
    except ValidationError as error:
        found = error.errors()
        # a list with a wrong item is also said to be too short: the item alone says what is wrong
        inner = [e for e in found if not any(_inside(o["loc"], e["loc"]) for o in found)]
        raise SpecError("\n".join(f"{where}: {_sentence(e)}" for e in inner)) from None
    exposure = Exposure(
        name=node["name"],
        owner=node["owner"].get("name") or node["owner"].get("email") or "",
        owner_email=node["owner"].get("email"),
        description=node.get("description", ""),
        unique_id=parents[0],
        relation=f"{model['schema']}.{model['alias']}",
        columns=columns,
        spec=spec,
        # less its examples, which are for dbt's docs
        relation_description=re.sub(r"```.*?```", "", model.get("description", ""), flags=re.DOTALL).strip(),
        column_descriptions={c["name"]: c.get("description", "") for c in model["columns"].values()},
    )
    _check(exposure, where)
    return exposure


# The models inside a spec, by the field that holds them, outermost first.
NESTED: dict[str, type[BaseModel]] = {"candidates": CandidateSpec, "search": SearchSpec, "space": Range}


def _inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _sentence(error: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        inside = [model for part, model in NESTED.items() if part in error["loc"][:-1]]
        allowed = (inside[-1] if inside else Spec).model_fields
        return f"meta.ml.{field} is not known. Allowed: {', '.join(allowed)}."
    if error["type"] == "missing":
        description = Spec.model_fields[field].description if field in Spec.model_fields else "it is required"
        return f"meta.ml.{field} is missing ({description})."
    if not field:
        return f"meta.ml: {error['msg']}."
    return f"meta.ml.{field} is {error['input']!r}. {error['msg'].removeprefix('Value error, ')}."


def _check(exposure: Exposure, where: str) -> None:
    spec, columns = exposure.spec, exposure.columns
    allowed = f"Columns of {exposure.relation}: {', '.join(columns)}."
    for field in ("key", "target", "group"):
        name = getattr(spec, field)
        if name is not None and name not in columns:
            raise SpecError(f"{where}: meta.ml.{field} is '{name}', which is no column. {allowed}")
    taken = [name for name in columns if name.lower() in TAKEN]
    if taken or spec.key.lower() in TAKEN_BESIDE_KEY:
        raise SpecError(
            f"{where}: column {(taken or [spec.key])[0]} of {exposure.relation} has a name that ml gives to a column "
            f"of its own. Rename it; taken are {', '.join(TAKEN)}, and for the key {', '.join(TAKEN_BESIDE_KEY)}."
        )
    named = [name for name in (spec.key, spec.target, spec.group) if name is not None]
    if len(set(named)) != len(named):
        raise SpecError(f"{where}: key, target and group must be three columns, not {', '.join(named)}.")
    if spec.split == "group" and spec.group is None:
        raise SpecError(f"{where}: meta.ml.split is 'group', but meta.ml.group names no column. {allowed}")
    for name in spec.map or ():
        if not is_numeric(columns.get(name, "")):
            found = f"{columns[name]}, not a number" if name in columns else "no column"
            raise SpecError(f"{where}: meta.ml.map names '{name}', which is {found}. {allowed}")
    for name in (*exposure.features, spec.target):
        if not is_numeric(columns[name]):
            raise SpecError(
                f"{where}: column {name} of {exposure.relation} is {columns[name]}, not a number. "
                "Features are the contract's columns less key, target and group: make it a number or take it out."
            )
    own = _own_tables()
    if spec.predictions in own or spec.predictions.startswith("heldout_"):
        raise SpecError(
            f"{where}: meta.ml.predictions is '{spec.predictions}', a table that ml keeps for itself. Name another; "
            f"taken are {', '.join(sorted(own))}, and all that begin with heldout_."
        )
    if not exposure.features:
        raise SpecError(f"{where}: {exposure.relation} has no column left to learn from. {allowed}")


def _own_tables() -> set[str]:
    """The tables of the schema ml that no exposure may take for its predictions."""
    ddl = files("ml.records").joinpath("tables.sql").read_text()
    return set(re.findall(r"create table if not exists lake\.ml\.(\w+)", ddl))


def _shared_tables(found: list[Exposure]) -> list[str]:
    """A table of predictions has its key's name and type: exposures that share one must share the key."""
    first: dict[str, Exposure] = {}
    wrong = []
    for exposure in found:
        other = first.setdefault(exposure.spec.predictions, exposure)
        ours, theirs = (f"{e.spec.key} {e.columns[e.spec.key]}" for e in (exposure, other))
        if ours != theirs:
            wrong.append(
                f"Exposure {exposure.name}: its key is {ours}, but ml.{exposure.spec.predictions} "
                f"has the key {theirs} of exposure {other.name}. Name another table in meta.ml.predictions."
            )
    return wrong
