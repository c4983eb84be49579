"""An exposure as assets: its model and its predictions, made by one consumption; the checks on them; the job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from ml import lake
from ml.exposures import Exposure
from ml.monitoring import checks
from orchestration.assets import metadata
from orchestration.assets.translator import card_key, model_key, monitoring_key, owners, predictions_key
from orchestration.attempts import PUBLICATION
from orchestration.errors import told

if TYPE_CHECKING:
    from ml.completion import Completion

JOB = "learn"


def assets(exposure: Exposure, features: dg.AssetKey, table: Mapping[str, Any]) -> dg.AssetsDefinition:
    """The exposure's model and predictions, which one commit makes.

    Args:
        features: The asset that is learned from.
        table: What Dagster shall say of the table of predictions: its name and columns.
    """

    @dg.multi_asset(
        name=f"consume_{exposure.identifier}",
        group_name="consumer",
        specs=[
            dg.AssetSpec(
                model_key(exposure),
                deps=[features],
                description=f"The versions of the model of {exposure.name}. {exposure.description}",
                owners=owners(exposure),
                kinds={"python", "sklearn", "s3"},
                skippable=True,
            ),
            dg.AssetSpec(
                predictions_key(exposure),
                deps=[features, model_key(exposure)],
                description=(
                    f"One row per publication, version and {', '.join(exposure.spec.key_columns)} in "
                    f"lake.ml.{exposure.spec.predictions_table}: {', '.join(metadata.made(exposure))}, by the champion."
                ),
                owners=owners(exposure),
                kinds={"duckdb", "table"},
                metadata=table,
                skippable=True,
            ),
        ],
    )
    def learn(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        # scikit-learn takes 4 s to import: only a run that learns waits for it
        from ml.consumption import consume

        # a run that no publication started is a person's: what was left as failed is tried once more
        by_hand = PUBLICATION not in context.run.tags
        with told():
            consumption = consume(exposure, retry=by_hand, run_id=context.run_id, say=context.log.info)
        if consumption is None:
            _complete(exposure, context)  # of a run that was killed between its commit and the next step
            return
        said = {model_key(exposure): metadata.model, predictions_key(exposure): metadata.predictions}
        for key, facts in said.items():
            yield dg.MaterializeResult(
                asset_key=key,
                metadata=facts(consumption, exposure, features),
                data_version=dg.DataVersion(f"{consumption.champion_id} {consumption.publication.fingerprint}"),
            )

    return learn


def monitoring_asset(exposure: Exposure) -> dg.AssetsDefinition:
    """What is measured after the consumption's commit, and decided nothing: predictions did not wait for it."""

    @dg.asset(
        key=monitoring_key(exposure),
        deps=[model_key(exposure)],  # checks on the predictions come with the marts, later
        group_name="consumer",
        description=(
            f"What is measured of a publication once the predictions of {exposure.name} are committed: held-out errors "
            "by the splits that the gate does not judge by, drift, live errors; a row of lake.ops.completions. Until "
            "then they are pending."
        ),
        owners=owners(exposure),
        kinds={"python", "table"},
        output_required=False,
        op_tags={"dagster/priority": "1"},  # before the marts, whose tests judge it: one process takes a step at a time
    )
    def monitoring(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        if made := _complete(exposure, context):  # several where runs before this one were killed
            yield dg.MaterializeResult(metadata=metadata.completion(made[-1]))

    return monitoring


def _complete(exposure: Exposure, context: dg.AssetExecutionContext) -> "list[Completion]":
    from ml.completion import complete

    with told():
        return complete(exposure, run_id=context.run_id, say=context.log.info)


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
        owners=owners(exposure),
        kinds={"python", "html", "s3"},
        output_required=False,
        op_tags={"dagster/priority": "-1"},  # after the marts: one process takes a step at a time
    )
    def model_card(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        from ml.reports import card
        from ml.reports import facts as version_facts

        with told():
            cards = card.explain(exposure, say=context.log.info)
        if not cards:
            return
        with lake.connect() as con:
            facts = version_facts.read(con, exposure, cards[0].version_id)
            before = version_facts.champion_before(con, facts)
            pictures = cards[0].pictures or card.draw(facts, version_facts.heldout(con, facts))
        yield dg.MaterializeResult(metadata=metadata.cards(exposure, cards, facts, before, pictures))

    return model_card


def asset_checks(exposure: Exposure) -> dg.AssetChecksDefinition:
    """What must hold of an exposure after each consumption, read back from the lake."""
    keys = {"model": model_key(exposure), "predictions": predictions_key(exposure)}

    @dg.multi_asset_check(
        name=f"check_{exposure.identifier}",
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
                severity=dg.AssetCheckSeverity(result.check.severity.upper()),
                description=result.found,
            )

    return check


def selection(exposures: Sequence[Exposure]) -> dg.AssetSelection:
    """What exposures' publications make: models and predictions, and whatever reads the predictions."""
    keys = [key(exposure) for exposure in exposures for key in (model_key, predictions_key)]
    return dg.AssetSelection.assets(*keys).downstream()


def job(exposures: Sequence[Exposure]) -> UnresolvedAssetJobDefinition:
    """Learn, predict, then build and test whatever reads the predictions.

    One job for all: a run takes the assets of its exposure. Of a job each, Dagster makes the whole graph anew for every
    one: 300 exposures took 91 s to load.
    """
    return dg.define_asset_job(
        JOB,
        selection=selection(exposures),
        description="Consumes the newest publication of an exposure's table; started by hand, of every exposure's.",
    )
