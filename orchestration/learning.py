"""An exposure as assets: its model and its predictions, made by one consumption; the checks on them; the job."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ml import checks
from ml.spec import Exposure
from orchestration.translator import card_key, model_key, predictions_key

if TYPE_CHECKING:
    from ml.card import Card
    from ml.consumption import Consumption


def assets(exposure: Exposure, features: dg.AssetKey) -> dg.AssetsDefinition:
    """The exposure's model and predictions, which one commit makes."""
    owners = [exposure.owner_email] if exposure.owner_email else []

    @dg.multi_asset(
        name=f"consume_{exposure.name}",
        group_name="consumer",
        specs=[
            dg.AssetSpec(
                model_key(exposure),
                deps=[features],
                description=f"The versions of the model of {exposure.name}. {exposure.description}",
                owners=owners,
                kinds={"python", "sklearn", "s3"},
                skippable=True,
            ),
            dg.AssetSpec(
                predictions_key(exposure),
                deps=[features, model_key(exposure)],
                description=(
                    f"One row per publication, version and {exposure.spec.key} in lake.ml.{exposure.spec.predictions}: "
                    "prediction, lower, upper, by the champion."
                ),
                owners=owners,
                kinds={"duckdb", "table"},
                skippable=True,
            ),
        ],
    )
    def learn(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        # scikit-learn takes 4 s to import: only a run that learns waits for it
        from ml.consumption import consume

        try:
            consumption = consume(exposure, run_id=context.run_id, say=context.log.info)
        except Exception as error:
            raise _told(error) from error
        if consumption is None:
            return
        for key, facts in ((model_key(exposure), model_facts), (predictions_key(exposure), prediction_facts)):
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=facts(consumption),
                data_version=dg.DataVersion(f"{consumption.champion_id} {consumption.publication.fingerprint}"),
            )

    return learn


def _told(error: Exception) -> Exception:
    """An error of ml is a sentence for a person: the UI shows it first, as it is."""
    return dg.Failure(str(error)) if type(error).__module__.startswith("ml.") else error


def card_asset(exposure: Exposure) -> dg.AssetsDefinition:
    """The model cards, made after the consumption's commit: predictions do not wait, and nothing undoes them."""

    @dg.asset(
        key=card_key(exposure),
        deps=[model_key(exposure)],
        group_name="consumer",
        description=(
            f"One HTML file on S3 per version of {exposure.name}: what it is and is not, how good, what it relies on, "
            "how to repeat it. With it lake.ml.feature_importance and lake.ml.partial_dependence."
        ),
        owners=[exposure.owner_email] if exposure.owner_email else [],
        kinds={"python", "html", "s3"},
        output_required=False,
        op_tags={"dagster/priority": "-1"},  # after the marts: one process takes a step at a time
    )
    def model_card(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        from ml.card import explain

        try:
            cards = explain(exposure, say=context.log.info)
        except Exception as error:
            raise _told(error) from error
        if cards:
            yield dg.MaterializeResult(metadata=card_facts(cards))

    return model_card


def card_facts(cards: "Sequence[Card]") -> dict[str, dg.MetadataValue | str]:
    """The metadata of the cards' materialization: where the newest version's stands, and the others that are kept."""
    newest, *others = cards
    return {
        "card": dg.MetadataValue.path(newest.uri),
        "version": newest.version_id,
        "sha256": newest.sha256,
        "written now": ", ".join(card.version_id for card in cards if card.written) or "none, they stood there",
        **{f"card of {card.version_id}": dg.MetadataValue.path(card.uri) for card in others},
    }


def common_facts(consumption: "Consumption") -> dict[str, str | int | float]:
    """What the materializations of model and predictions both say."""
    publication = consumption.publication
    return {
        "outcome": consumption.outcome,
        "reason": consumption.reason,
        "publication": publication.publication_id,
        "snapshot": publication.snapshot_id,
        "dbt invocation": publication.invocation_id,
        "built by": publication.built_by,
        "champion": consumption.champion_id or "none yet",
    }


def model_facts(consumption: "Consumption") -> dict[str, str | int | float]:
    """The metadata of the model's materialization: the version, its held-out metrics, the mean's beside them."""
    return {
        **common_facts(consumption),
        "version": consumption.version_id or "none",
        **consumption.metrics,
        **{f"{name} of the mean": value for name, value in consumption.baseline.items()},
        **{f"seconds to {stage}": value for stage, value in consumption.seconds.items()},
    }


def prediction_facts(consumption: "Consumption") -> dict[str, str | int | float]:
    """The metadata of the predictions' materialization."""
    return {**common_facts(consumption), "dagster/row_count": consumption.publication.row_count}


def asset_checks(exposure: Exposure) -> dg.AssetChecksDefinition:
    """What must hold of an exposure after each consumption, read back from the lake."""
    keys = {"model": model_key(exposure), "predictions": predictions_key(exposure)}

    @dg.multi_asset_check(
        name=f"check_{exposure.name}",
        specs=[
            dg.AssetCheckSpec(check.name, asset=keys[check.asset], description=check.description)
            for check in checks.CHECKS
        ],
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for result in checks.run(exposure):
            yield dg.AssetCheckResult(
                check_name=result.check.name,
                asset_key=keys[result.check.asset],
                passed=result.passed,
                description=result.found,
            )

    return check


def job_name(exposure: Exposure) -> str:
    """The job that a publication starts."""
    return f"learn_{exposure.name}"


def job(exposure: Exposure) -> UnresolvedAssetJobDefinition:
    """Learn, predict, then build and test whatever reads the predictions."""
    selection = dg.AssetSelection.assets(model_key(exposure), predictions_key(exposure)).downstream()
    return dg.define_asset_job(
        job_name(exposure),
        selection=selection,
        description=f"Consumes the newest publication of {exposure.relation} for {exposure.name}.",
    )
