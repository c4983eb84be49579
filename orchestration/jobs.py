"""Jobs that nobody's publication starts: nightly maintenance, and what a person asks for: replays and promotions."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg
from pydantic import Field

from ml import maintenance
from ml.exposures import Exposure
from ml.reports import mlflow as tracking
from orchestration.errors import told
from orchestration.project import exposure as named
from orchestration.project import exposures


class MaintenanceConfig(dg.Config):
    """How long things are kept."""

    keep_days: float = maintenance.KEEP_DAYS
    grace_hours: float = maintenance.GRACE.total_seconds() / 3600


@dg.op(description="Expire snapshots, merge small files, remove what nothing refers to; never what a version needs.")
def maintain(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
    """Apply the policy of `ml.maintenance`, and say what was done."""
    keep, grace = timedelta(days=config.keep_days), timedelta(hours=config.grace_hours)
    with told():
        done = maintenance.maintain(exposures(), keep=keep, grace=grace, say=context.log.info)
    context.add_output_metadata(vars(done))


@dg.job(description=f"Expires snapshots older than {maintenance.KEEP_DAYS} days that no version needs; tidies files.")
def maintain_lake() -> None:
    """The job."""
    maintain()


# At night, when builds are rare; merging rewrites small files, which costs a scan of them.
nightly = dg.ScheduleDefinition(
    job=maintain_lake, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)


class OfAnExposure(dg.Config):
    """Whose job it is.

    Every setting of a job has a default: without one Dagster's launchpad opens with an error. What a person must say is
    asked for by `ml`, in a sentence.
    """

    exposure: str = Field("", description="The exposure; the project's only one where it has one.")


class PromotionConfig(OfAnExposure):
    """Which version is to serve, and why."""

    version_id: str = Field("", description="As in lake.ml.model_versions; empty for the champion before this one.")
    reason: str = Field("", description="Why. It must be given, and is kept in lake.ml.promotions.")


@dg.op(description="Makes a version the champion, or the one before it; the newest publication is predicted with it.")
def change_champion(context: dg.OpExecutionContext, config: PromotionConfig) -> None:
    """As `tract promote` and `tract rollback`."""
    from ml import promotion  # scikit-learn takes 2 s to import

    by = f"Dagster run {context.run_id}"
    with told():
        exposure = named(config.exposure)
        if config.version_id:
            done = promotion.promote(exposure, config.version_id, by=by, reason=config.reason, say=context.log.info)
        else:
            done = promotion.rollback(exposure, by=by, reason=config.reason, say=context.log.info)
    context.add_output_metadata({name: str(value) for name, value in vars(done).items()})
    with told():
        tracking.mirror(exposure, say=context.log.info)  # after the commit: MLflow's alias follows


@dg.job(description="Changes the champion of an exposure: to a version, or back to the one before.")
def promote() -> None:
    """The job."""
    change_champion()


@dg.op(description="Tries recipes within the budgets that the candidates say; what is found challenges the champion.")
def look_for_recipes(context: dg.OpExecutionContext, config: OfAnExposure) -> None:
    """As `tract search`."""
    from ml.search import search  # scikit-learn takes 2 s to import

    with told():
        done = search(named(config.exposure), by=f"Dagster run {context.run_id}", say=context.log.info)
    context.add_output_metadata(
        {
            "trials": sum(len(trials) for trials in done.trials.values()),
            "promoted": done.promoted_id or "none",
            "decision": done.reason,
            "found": {recipe.name: recipe.found for recipe in done.recipes},
        }
    )


@dg.job(description="Searches better recipes for an exposure, within the budgets that its candidates say.")
def search() -> None:
    """The job."""
    look_for_recipes()


def nightly_search(exposures: Sequence[Exposure]) -> dg.ScheduleDefinition:
    """The schedule of the searches of these; whoever wants to pay for them every night turns it on."""

    @dg.schedule(name="nightly_search", job=search, cron_schedule="0 4 * * *")
    def requests(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        for exposure in exposures:
            config = dg.RunConfig({"look_for_recipes": OfAnExposure(exposure=exposure.name)})
            night = f"{context.scheduled_execution_time:%Y-%m-%d}"
            yield dg.RunRequest(run_key=f"{exposure.name} {night}", run_config=config)

    return requests


class ReplayConfig(OfAnExposure):
    """What to repeat."""

    publication_id: str = Field("", description="As in lake.ops.publications. It must be given.")


@dg.op(description="Repeats what an exposure made of a publication, on one thread; fails when it comes out otherwise.")
def repeat(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
    """As `tract replay`."""
    from ml.replay import replay  # scikit-learn takes 2 s to import

    with told():
        repeated = replay(named(config.exposure), config.publication_id, say=context.log.info)
    context.log.info(repeated.sentence)
    context.add_output_metadata({"version": repeated.version_id, "result": repeated.sentence})
    if not repeated.holds:
        raise dg.Failure(f"{repeated.sentence}.", allow_retries=False)


@dg.job(description="Repeats what an exposure made of a past publication: the same version, the same predictions.")
def replay() -> None:
    """The job."""
    repeat()
