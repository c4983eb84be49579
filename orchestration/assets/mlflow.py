"""An exposure's versions in MLflow as an asset of its own: what was committed never waits for a mirror."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from ml.exposures import Exposure
from ml.reports import mlflow as tracking
from orchestration.assets.translator import card_key, mlflow_key, owners
from orchestration.errors import told

if TYPE_CHECKING:
    from ml.reports.mlflow import Mirrored


def is_on() -> bool:
    """Whether there is an MLflow to mirror in; without one the asset is left out of the graph, never to be made."""
    return tracking.address() is not None


def asset(exposure: Exposure) -> dg.AssetsDefinition:
    """Mirrors what the lake holds after a consumption; not materialized when MLflow does not answer."""

    @dg.asset(
        key=mlflow_key(exposure),
        deps=[card_key(exposure)],  # some of the pictures that are logged are of what the card's step finds
        group_name="consumer",
        description=(
            f"A run and a registered model of MLflow per version of {exposure.name}, the champion's with the alias "
            f"`{tracking.ALIAS}`. Optional: `make mlflow`, or MLFLOW_TRACKING_URI."
        ),
        owners=owners(exposure),
        kinds={"python", "mlflow"},
        output_required=False,
        op_tags={"dagster/priority": "-2"},  # last: one process takes a step at a time
    )
    def mlflow(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with told():
            mirrored = tracking.mirror(exposure, say=context.log.info)
        if mirrored:
            yield dg.MaterializeResult(metadata=facts(mirrored))

    return mlflow


def facts(mirrored: "Mirrored") -> dict[str, str | dg.MetadataValue]:
    """The metadata of the materialization: the runs of what was logged now, and the champion's."""
    shown = {f"run of {version_id}": mirrored.runs[version_id] for version_id in mirrored.logged}
    if mirrored.champion_id:
        shown["champion's run"] = mirrored.runs[mirrored.champion_id]
    return {
        "logged now": ", ".join(mirrored.logged) or "none, they stood there",
        "champion": mirrored.champion_id or "none yet",
        **{name: dg.MetadataValue.url(url) for name, url in shown.items()},
    }
