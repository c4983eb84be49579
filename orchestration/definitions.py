"""Everything that Dagster knows: `dagster definitions validate -m orchestration.definitions`."""

import logging

import dagster as dg

from ml.manifest import doubts, read_exposures
from orchestration import forks, freshness, project, waiting
from orchestration import jobs as upkeep
from orchestration.assets import columns
from orchestration.assets import dbt as dbt_models
from orchestration.assets import mlflow as tracking
from orchestration.assets import model as learning
from orchestration.assets.translator import Translator
from orchestration.loaded import asset_check, follow_project
from orchestration.notifying import send_notices
from orchestration.sensor import follow_publications

manifest = project.manifest()
loaded = project.loaded()
exposures = read_exposures(manifest)
for doubt in doubts(exposures):
    logging.getLogger("dagster.tract").warning(doubt)
translator = Translator(exposures)
features = {
    exposure.relation: translator.get_asset_key(manifest["nodes"][exposure.unique_id]) for exposure in exposures
}
producer = dbt_models.producer_models(manifest, translator)
consumer = dbt_models.consumer_models(manifest, translator)
loaded_checks = [asset_check(key) for key in dict.fromkeys(features.values())]
fresh_checks = [freshness.asset_check(exposure, features[exposure.relation]) for exposure in exposures]
waiting_checks = [waiting.asset_check(exposure, features[exposure.relation]) for exposure in exposures]
over_time = [*fresh_checks, *waiting_checks, *loaded_checks]
learn = learning.job(exposures)
searched = [exposure for exposure in exposures if any(candidate.search for candidate in exposure.spec.recipes)]

definitions = dg.Definitions(
    assets=[
        producer,
        consumer,
        *(
            learning.assets(
                exposure,
                features[exposure.relation],
                columns.described(manifest, "ml", exposure.spec.predictions_table),
            )
            for exposure in exposures
        ),
        *(learning.monitoring_asset(exposure) for exposure in exposures),
        *(learning.card_asset(exposure) for exposure in exposures),
        *(tracking.asset(exposure) for exposure in exposures if tracking.is_on()),
    ],
    asset_checks=[
        *(learning.asset_checks(exposure) for exposure in exposures),
        *over_time,
    ],
    jobs=[
        dg.define_asset_job(
            "build_features",
            # less those that are judged over time, not at a build
            selection=dg.AssetSelection.assets(producer) - dg.AssetSelection.checks(*over_time),
            description="dbt build, up to the tables that models learn from; publishes them if their tests pass.",
        ),
        learn,
        upkeep.promote,
        upkeep.replay,
        *([upkeep.search] if searched else []),
        upkeep.maintain_lake,
    ],
    schedules=[upkeep.nightly, *([upkeep.nightly_search(searched)] if searched else [])],
    sensors=[
        follow_publications(exposures, features, learn, loaded),
        freshness.expect_publications(exposures, features),
        waiting.expect_consumptions(exposures, features),
        follow_project(loaded, features),
        send_notices(),
    ],
    # dbt has threads of its own, and learning has joblib: a process a step would only add 3 s to each.
    executor=dg.in_process_executor,
    resources={"dbt": dbt_models.Dbt()},
)

forks.prepare()  # while webserver and daemon start
