"""How dbt's nodes become assets: names, groups and owners are dbt's, and marts depend on the models' predictions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from ml.exposures import Exposure

ML_SOURCES = ("ml", "ops")  # tables that every exposure's run writes


def model_key(exposure: Exposure) -> dg.AssetKey:
    """The asset that stands for an exposure's versions."""
    return dg.AssetKey([exposure.identifier, "model"])


def predictions_key(exposure: Exposure) -> dg.AssetKey:
    """The asset that stands for an exposure's predictions."""
    return dg.AssetKey([exposure.identifier, "predictions"])


def monitoring_key(exposure: Exposure) -> dg.AssetKey:
    """The asset that stands for what is measured once an exposure's predictions are committed."""
    return dg.AssetKey([exposure.identifier, "monitoring"])


def card_key(exposure: Exposure) -> dg.AssetKey:
    """The asset that stands for the cards of an exposure's versions."""
    return dg.AssetKey([exposure.identifier, "model_card"])


def mlflow_key(exposure: Exposure) -> dg.AssetKey:
    """The asset that stands for an exposure's runs and registered model in MLflow."""
    return dg.AssetKey([exposure.identifier, "mlflow"])


def owners(exposure: Exposure) -> list[str]:
    """Who owns an exposure's assets, as Dagster takes it: an e-mail address, or a team; nothing it does not take."""
    owner = exposure.owner_email or ""
    if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", owner):
        return [owner]
    return [f"team:{team}"] if (team := re.sub(r"[^\w-]+", "_", owner or exposure.owner).strip("_")) else []


class Translator(DagsterDbtTranslator):
    """Draws an arrow from each exposure's predictions to whatever reads the tables of `ml` and `ops`."""

    def __init__(self, exposures: Sequence[Exposure]) -> None:
        super().__init__(
            DagsterDbtTranslatorSettings(
                enable_duplicate_source_asset_keys=True,  # the tables of ml and ops are one asset here
                enable_source_metadata=False,
                enable_source_tests_as_checks=True,
            )
        )
        self.exposures = exposures

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """schema/name for models; for the tables of `ml` and `ops` the predictions of who writes there."""
        if dbt_resource_props["resource_type"] == "source" and dbt_resource_props["source_name"] in ML_SOURCES:
            table = dbt_resource_props["identifier"]
            writes = [asked for asked in self.exposures if table in (asked.spec.predictions_table, asked.heldout)]
            return predictions_key((writes or self.exposures)[0])
        if dbt_resource_props["resource_type"] == "model":
            return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["alias"]])
        return super().get_asset_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The team, dbt's group."""
        group: str | None = dbt_resource_props.get("config", {}).get("group")
        return group

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """Dbt's own, with an arrow from every exposure where dbt has one from the tables that they share."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        shared = predictions_key(self.exposures[0]) if self.exposures else None
        if shared not in [dep.asset_key for dep in spec.deps]:
            return spec
        others = [dg.AssetDep(predictions_key(exposure)) for exposure in self.exposures[1:]]
        return spec.replace_attributes(deps=[*spec.deps, *others])
