"""The settings of a model that is asked for, `meta.ml` of a dbt exposure: names, types, bounds and defaults."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ml.code import MOVED
from ml.metrics import Metric, Task
from ml.occasions import Occasion

# What may change in a spec without anything being learned anew, in pydantic's words.
NOT_LEARNING: dict[str, Any] = {
    "features": True,  # what comes of it stands beside the spec, see `Exposure.digest`
    "fresh_within_hours": True,
    "map_columns": True,
    "unit": True,
    "time": True,  # these stand beside the spec, too
    "weight": True,
    "backtest": True,
    "task": True,
    "positive": True,
    "metric": True,
    "limitations": True,
    "predictions": True,  # its table stands beside the spec
    "candidates": {"__all__": {"search"}},
    "notify": True,
    "engine": True,
    "spark_above_rows": True,
}
MEAN = "mean"  # the candidate that predicts the mean of its training rows, judged beside the others
RIDGE = "ridge"  # of numbers, from the warehouse's sums
LOGISTIC = "logistic"  # of classes
# Candidates of Tract's own, and what they are for.
OWN: dict[str, Task] = {RIDGE: "regression", LOGISTIC: "classification"}
# Candidates that are known by name, beside these.
ESTIMATORS: dict[str, dict[Task, str]] = {
    "gradient_boosting": {
        "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
        "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    }
}


# Of `max_rows`: estimators that can learn from binned rows learn from every one.
ALL_ROWS = "all"
# These can: LightGBM's, whose rows take a byte a cell.
BINNED = ("lightgbm.LGBMRegressor", "lightgbm.LGBMClassifier")
# Parameters of theirs that need the rows as they were before, or that LightGBM takes beside binned rows alone.
UNBINNED = ("class_weight", "linear_tree", "linear_trees", "categorical_feature", "cat_feature", "categorical_column")
LEAST_ROWS = 1_000


# What a table of the schema ml may be called.
TABLE = "^[a-z_][a-z0-9_]*$"
# The two ways of saying where predictions go, as pydantic places an error.
TAGS = ("a name", "a mapping")


class Range(BaseModel):
    """Numbers between two ends, both possible; whole ones if both ends are whole; evenly by ratio if `log`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float = Field(description="the least that is tried")
    high: int | float = Field(description="the most")
    log: bool = Field(False, description="whether values are spread evenly by ratio: 1 to 10 as densely as 10 to 100")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low is {self.low} and high {self.high}: low must be less, and above zero where log is")
        return self


class SearchSpec(BaseModel):
    """Parameters that a search may choose anew, and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: dict[str, list[Any] | Range] = Field(min_length=1, description="parameter to values, or to a range")
    trials: int = Field(30, ge=1, description="recipes tried, the one that is known among them")
    seconds: float = Field(900.0, gt=0, description="seconds after which no trial ends: one that would is not begun")


class CandidateSpec(BaseModel):
    """A recipe that may compete: a known name, or any regressor or classifier by its dotted path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", description="what it is called in metrics and versions")
    estimator: str | None = Field(None, description="package.module.Name of its class or function")
    parameters: dict[str, Any] = Field({}, description="what the estimator is called with")
    found: dict[str, Any] = Field({}, description="parameters that a search found to be better")
    search: SearchSpec | None = Field(None, description="what a search may choose anew")
    enabled: bool = Field(True, description="whether it competes")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, said: object) -> object:
        if isinstance(said, str):
            return {"name": said}
        if isinstance(said, dict) and isinstance(path := said.get("estimator"), str):
            module, _, name = path.rpartition(".")
            if module in MOVED:  # a spec, or a version's recipe, of an earlier release
                return {**said, "estimator": f"{MOVED[module]}.{name}"}
        return said

    @model_validator(mode="after")
    def _known(self) -> "CandidateSpec":
        if self.name == MEAN:
            raise ValueError(f"'{MEAN}' is the mean predictor's name: choose another")
        if self.estimator is None and self.name not in OWN and self.name not in ESTIMATORS:
            known = ", ".join([*OWN, *ESTIMATORS])
            raise ValueError(f"It is not known ({known} are): give its `estimator` as package.module.Name")
        if self.name in OWN and (self.estimator or self.parameters or self.search):
            raise ValueError(f"'{self.name}' is Tract's own and takes nothing: choose another name")
        return self

    def path(self, task: Task) -> str | None:
        """The estimator's dotted path; None for Tract's own candidates."""
        return self.estimator or ESTIMATORS.get(self.name, {}).get(task)

    @property
    def chosen(self) -> dict[str, Any]:
        """What the estimator is called with: the parameters, less those that a search found better ones for."""
        return {**self.parameters, **self.found}

    def covers(self, other: "CandidateSpec") -> bool:
        """Whether the other is this very recipe, or what a search found for it as it stands."""
        same = (self.name, self.estimator, self.parameters) == (other.name, other.estimator, other.parameters)
        return same and self.found in ({}, other.found)


class FeaturesSpec(BaseModel):
    """Which columns of the table are learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[str, ...] = Field((), description="columns that are learned from, and no other")
    exclude: tuple[str, ...] = Field((), description="columns that are not learned from")
    categorical: tuple[str, ...] = Field(
        (), description="columns of numbers that are names, as postcodes: each number is a level of its own"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "FeaturesSpec":
        if self.include and self.exclude:
            raise ValueError("It has include and exclude: say one of them")
        return self


class BacktestSpec(BaseModel):
    """How the past is cut into folds that are judged by what came before them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(5, ge=2, le=100, description="periods that are held out, each once, after a first that is not")
    gap: str | None = Field(
        None,
        pattern=r"^\d{1,4} (second|minute|hour|day|week|month|year)s?$",
        description="time before each fold that is not learned from, as `30 days`: until then no answer is known",
    )
    window: Literal["expanding", "rolling"] = Field(
        "expanding",
        description="what is learned from: all that came before, or one window that moves, as long as a period",
    )


class PredictionsSpec(BaseModel):
    """Where predictions go, and how long they stay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str = Field("predictions", pattern=TABLE, description="table in the schema ml")
    keep: str = Field(
        "all",
        pattern=r"^(all|latest|\d{1,4} (hour|day|week|month|year)s?)$",
        description="which of those that stand no more are kept: `all`, none (`latest`), or for a time, as `90 days`",
    )
    incremental: bool = Field(
        False, description="whether a champion that has predicted the table before predicts new and changed rows alone"
    )


def predictions_table(predictions: str | PredictionsSpec | Mapping[str, Any]) -> str:
    """The table of predictions, of `predictions` as specs and the rows of versions have it."""
    if isinstance(predictions, str):
        return predictions
    return PredictionsSpec.model_validate(predictions).table


def key_columns(key: str | Sequence[str]) -> tuple[str, ...]:
    """The columns that identify a row together, of a key as specs and the rows of versions have it."""
    return (key,) if isinstance(key, str) else tuple(key)


# Who is told: the name of an environment variable that holds a webhook's URL, or an address.
VARIABLE = "[A-Z_][A-Z0-9_]*"
ADDRESS = "[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+"
# The type of an error whose input is not repeated: it may be a secret.
UNREPEATED = "not_repeated"


class NotifySpec(BaseModel):
    """Who is told of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: tuple[Occasion, ...] = Field(min_length=1, description="what is told, see above")
    to: str = Field(
        pattern=f"^({VARIABLE}|{ADDRESS})$",
        description="the environment variable that holds a webhook's URL, or an e-mail address",
    )
    template: Literal["json", "slack"] = Field(
        "json", description="what a webhook is sent: all that is known, or the text as Slack takes it"
    )

    @model_validator(mode="before")
    @classmethod
    def _on(cls, said: object) -> object:
        if not isinstance(said, dict):
            raise PydanticCustomError(UNREPEATED, "must be a mapping with `on` and `to`, or a list of such")
        # YAML as dbt reads it takes the word `on` for true
        return {"on" if name in (True, "true", "True") else name: value for name, value in said.items()}

    @field_validator("to", mode="before")
    @classmethod
    def _no_secret(cls, said: object) -> object:
        if not isinstance(said, str) or not re.fullmatch(f"{VARIABLE}|{ADDRESS}", said):
            raise PydanticCustomError(
                UNREPEATED,
                "must be the name of an environment variable (capitals, digits and _), or an e-mail address. What is "
                "there is not repeated, as a webhook's URL is a secret: put the URL into a variable where Dagster and "
                "`tract notify` run, and write the variable's name",
            )
        return said

    @model_validator(mode="after")
    def _templates_are_of_webhooks(self) -> "NotifySpec":
        if self.by_mail and self.template != "json":
            raise ValueError(f"template is {self.template}, which is for webhooks, and to is an address: leave it out")
        return self

    @property
    def by_mail(self) -> bool:
        """Whether it is an address, and no variable."""
        return "@" in self.to


def _listed(said: object) -> object:
    return said if isinstance(said, list | tuple) else [said]


class Spec(BaseModel):
    """The settings under `config.meta.ml` of an exposure; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str | tuple[str, ...] = Field(
        description="column that identifies a row, or a list of columns that do together"
    )
    target: str = Field(description="column to be predicted")
    task: Task | None = Field(
        None, description="what is predicted: a number, or a class of few; by default what the target's type says"
    )
    positive: bool | int | str | None = Field(
        None, description="of two classes, the one whose `probability` is given; by default true, or the greater one"
    )
    metric: Metric | None = Field(
        None, description="what the gate judges by; by default `rmse` of numbers, `log_loss` of classes"
    )
    group: str | None = Field(None, description="column whose rows must not be split between train and test")
    time: str | None = Field(None, description="column with the date or timestamp of a row; it is no feature")
    weight: str | None = Field(
        None,
        description="column of numbers above zero, for how much a row counts in what is learned and in every metric; "
        "it is no feature",
    )
    features: FeaturesSpec = Field(FeaturesSpec(), description="which columns are learned from")
    split: Literal["random", "group", "time"] = Field(
        "random",
        description="what the gate judges by: rows among known groups, of new ones, or of what is to come",
    )
    backtest: BacktestSpec = Field(BacktestSpec(), description="how `split: time` cuts the past")
    candidates: tuple[CandidateSpec, ...] = Field(min_length=1, description="recipes that may compete")
    alpha_by: Literal["loo", "folds"] = Field(
        "loo", description="what chooses ridge's penalty: leave-one-out, or folds"
    )
    max_rows: Annotated[int, Field(ge=LEAST_ROWS)] | Literal["all"] | None = Field(
        None,
        description="rows that are judged, and that learners which hold rows see: by default 50 million divided by the "
        "number of features and one, but 10,000 to 500,000, or to 200,000 where ridge alone competes; `all`: that too, "
        "and LightGBM's estimators see every row",
    )
    folds: int = Field(5, ge=2, le=100, description="parts into which rows are divided, each held out once")
    seed: int = Field(0, ge=0, description="seed of that division")
    coverage: float = Field(
        0.9, gt=0, lt=1, description="share of rows whose value the intervals, or sets of classes, hold"
    )
    minimum: float | None = Field(None, description="what the target cannot be below; intervals end there")
    refresh_margin: float = Field(0.05, ge=0, description="share by which the champion's recipe may be worse")
    significance: float = Field(0.05, gt=0, lt=1, description="chance of no gain below which another recipe wins")
    slices: dict[str, str] = Field({}, description="SQL over the table's columns, whose values are judged apart")
    slice_margin: float = Field(0.05, ge=0, description="share by which another recipe may be worse in a slice")
    engine: Literal["duckdb", "spark"] = Field(
        "duckdb",
        description="what reads the rows: DuckDB in the run's process, or Spark where `TRACT_SPARK` says",
    )
    spark_above_rows: int | None = Field(
        None, ge=0, description="rows of a publication above which Spark reads them, and DuckDB otherwise"
    )
    fresh_within_hours: float = Field(24.0, gt=0, description="hours after which a publication is late")
    notify: Annotated[
        tuple[NotifySpec, ...],
        BeforeValidator(_listed, json_schema_input_type=NotifySpec | tuple[NotifySpec, ...]),
    ] = Field((), description="who is told of what; by default whom the variable of dbt `notify` names")
    predictions: Annotated[
        Annotated[str, Field(pattern=TABLE), Tag(TAGS[0])] | Annotated[PredictionsSpec, Tag(TAGS[1])],
        Discriminator(lambda said: TAGS[not isinstance(said, str)]),
    ] = Field("predictions", description="table of predictions in the schema ml, or more of them, see below")
    map_columns: tuple[str, str] | None = Field(None, description="columns that are longitude and latitude, in degrees")
    unit: str = Field("", description="the target's unit, as axes and tables name it")
    limitations: str = Field("", description="what the data is not, for readers of the model card")

    @field_validator("key", mode="before")
    @classmethod
    def _column_or_columns(cls, said: object) -> object:
        named = list(said) if isinstance(said, list | tuple) else [said]
        if not named or not all(isinstance(name, str) for name in named):
            raise ValueError("It must be the name of a column, or a list of names")
        if len(set(named)) < len(named):
            raise ValueError(f"It names a column twice: {', '.join(named)}")
        return named[0] if len(named) == 1 else tuple(named)

    @field_validator("max_rows", mode="before")
    @classmethod
    def _rows(cls, said: object) -> object:
        number = isinstance(said, int) and not isinstance(said, bool) and said >= LEAST_ROWS
        if not (number or said is None or said == ALL_ROWS):
            raise ValueError(f"It must be a whole number, at least {LEAST_ROWS}, or {ALL_ROWS}")
        return said

    @property
    def predictions_table(self) -> str:
        """The table of predictions in the schema ml."""
        return predictions_table(self.predictions)

    @property
    def keep(self) -> str:
        """Which predictions are kept that stand no more."""
        return "all" if isinstance(self.predictions, str) else self.predictions.keep

    @property
    def incremental(self) -> bool:
        """Whether new and changed rows alone are predicted where the rest stands already."""
        return not isinstance(self.predictions, str) and self.predictions.incremental

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that identify a row together."""
        return key_columns(self.key)

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that are no features: key, target, group, time and weight."""
        named = (*self.key_columns, self.target, self.group, self.time, self.weight)
        return tuple(name for name in named if name is not None)

    @field_validator("positive", mode="before")
    @classmethod
    def _a_class(cls, said: object) -> object:
        if not isinstance(said, bool | int | str | None):
            raise ValueError("A class is true or false, a whole number, or a text")
        return said

    @model_validator(mode="after")
    def _some_compete(self) -> "Spec":
        if not self.recipes:
            raise ValueError("no candidate is enabled: enable one")
        names = [candidate.name for candidate in self.candidates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several candidates are called {', '.join(twice)}: give each a name of its own")
        return self

    @property
    def recipes(self) -> tuple[CandidateSpec, ...]:
        """The candidates that compete."""
        return tuple(candidate for candidate in self.candidates if candidate.enabled)

    @property
    def splits(self) -> tuple[str, ...]:
        """How rows are held out: by group too where the spec names one.

        By time alone where the spec says so: the other splits learn from what is to come, which is no second opinion.
        """
        if self.split == "time":
            return ("time",)
        return ("random", "group") if self.group else ("random",)

    @property
    def judged_folds(self) -> int:
        """How many folds are held out in each split."""
        return self.backtest.folds if self.split == "time" else self.folds

    @property
    def folds_setting(self) -> str:
        """The setting that says so."""
        return "backtest.folds" if self.split == "time" else "folds"


# Settings that had other names in earlier releases.
RENAMED = {"level": "coverage", "map": "map_columns", "limits": "limitations"}
