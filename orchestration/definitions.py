"""Everything that Dagster knows: `dagster definitions validate -m orchestration.definitions`."""

import dagster as dg

from ml.spec import exposures as read_exposures
from orchestration import dbt_models, learning
from orchestration.project import ROOT
from orchestration.project import manifest as read_manifest
from orchestration.sensor import follow_publications
from orchestration.translator import Translator

manifest = read_manifest()
exposures = read_exposures(manifest)
translator = Translator(exposures)
features = {
    exposure.relation: translator.get_asset_key(manifest["nodes"][exposure.unique_id]) for exposure in exposures
}
producer = dbt_models.producer_models(manifest, translator)
consumer = dbt_models.consumer_models(manifest, translator)
learn_jobs = [learning.job(exposure) for exposure in exposures]

definitions = dg.Definitions(
    assets=[
        producer,
        consumer,
        *(learning.assets(exposure, features[exposure.relation]) for exposure in exposures),
    ],
    asset_checks=[learning.asset_checks(exposure) for exposure in exposures],
    jobs=[
        dg.define_asset_job(
            "build_features",
            selection=dg.AssetSelection.assets(producer),
            description="dbt build, up to the tables that models learn from; publishes them if their tests pass.",
        ),
        *learn_jobs,
    ],
    sensors=[follow_publications(exposures, features, learn_jobs)],
    # dbt has threads of its own, and learning has joblib: a process a step would only add 3 s to each.
    executor=dg.in_process_executor,
    resources={"dbt": dbt_models.Dbt(project_dir=str(ROOT))},
)
