"""The exposures of `type: ml` that dbt's manifest has, and what is wrong with them, in sentences."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ml import contradictions, environments, estimators
from ml.errors import TractError
from ml.exposures import Exposure
from ml.spec import (
    RENAMED,
    TAGS,
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
# dbt's materializations that keep no rows.
NO_TABLES = ("view", "ephemeral", "materialized_view", "external")
# The source table of the dbt package whose meta carries the variable `notify`, as the project sets it.
NOTICES = "source.tract.ops.notices"


class SpecError(TractError):
    """An exposure does not fit; the message names exposure, field, what was found and what is allowed."""


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
        wrong.extend(f"{where}: {sentence}" for sentence in contradictions.of(found[-1]))
    if not wrong:
        wrong = contradictions.shared_tables(found)
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
