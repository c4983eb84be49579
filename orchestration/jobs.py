"""Jobs that nobody's publication starts: nightly maintenance, and what a person asks for: replays and promotions."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from ml import maintenance
from ml.exposures import Exposure
from ml.reports import mlflow as tracking
from orchestration.errors import told


class MaintenanceConfig(dg.Config):
    """How long things are kept."""

    keep_days: float = maintenance.KEEP_DAYS
    grace_hours: float = maintenance.GRACE.total_seconds() / 3600


@dg.op(description="Expire snapshots, merge small files, remove what nothing refers to; never what a version needs.")
def maintain(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
    """Apply the policy of `ml.maintenance`, and say what was done."""
    keep, grace = timedelta(days=config.keep_days), timedelta(hours=config.grace_hours)
    with told():
        done = maintenance.maintain(keep=keep, grace=grace, say=context.log.info)
    context.add_output_metadata(vars(done))


@dg.job(description=f"Expires snapshots older than {maintenance.KEEP_DAYS} days that no version needs; tidies files.")
def maintain_lake() -> None:
    """The job."""
    maintain()


# At night, when builds are rare; merging rewrites small files, which costs a scan of them.
nightly = dg.ScheduleDefinition(
    job=maintain_lake, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)


class PromotionConfig(dg.Config):
    """Which version is to serve, and why.

    Every setting of a job has a default: without one Dagster's launchpad opens with an error. What a person must say is
    asked for by `ml`, in a sentence.
    """

    version_id: str = Field("", description="As in lake.ml.model_versions; empty for the champion before this one.")
    reason: str = Field("", description="Why. It must be given, and is kept in lake.ml.promotions.")


def promotion_job(exposure: Exposure) -> dg.JobDefinition:
    """Makes a version the champion, or the one before it, and predicts the newest publication with it."""

    @dg.op(name=f"promote_version_of_{exposure.name}")
    def change(context: dg.OpExecutionContext, config: PromotionConfig) -> None:
        from ml import promotion  # scikit-learn takes 2 s to import

        by = f"Dagster run {context.run_id}"
        with told():
            if config.version_id:
                done = promotion.promote(exposure, config.version_id, by=by, reason=config.reason, say=context.log.info)
            else:
                done = promotion.rollback(exposure, by=by, reason=config.reason, say=context.log.info)
        context.add_output_metadata({name: str(value) for name, value in vars(done).items()})
        with told():
            tracking.mirror(exposure, say=context.log.info)  # after the commit: MLflow's alias follows

    @dg.job(
        name=f"promote_{exposure.name}",
        description=f"Changes the champion of {exposure.name}: to a version, or back to the one before.",
    )
    def job() -> None:
        change()

    return job


def search_job(exposure: Exposure) -> dg.JobDefinition:
    """Searches the spaces of an exposure's candidates; what is found challenges the champion."""

    @dg.op(name=f"search_for_{exposure.name}")
    def look(context: dg.OpExecutionContext) -> None:
        from ml.search import search  # scikit-learn takes 2 s to import

        with told():
            done = search(exposure, by=f"Dagster run {context.run_id}", say=context.log.info)
        context.add_output_metadata(
            {
                "trials": sum(len(trials) for trials in done.trials.values()),
                "promoted": done.promoted_id or "none",
                "decision": done.reason,
                "found": {recipe.name: recipe.found for recipe in done.recipes},
            }
        )

    @dg.job(
        name=f"search_{exposure.name}",
        description=f"Searches better recipes for {exposure.name}, within the budgets that its candidates say.",
    )
    def job() -> None:
        look()

    return job


def nightly_search(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """The schedule of a search; whoever wants to pay for it every night turns it on."""
    return dg.ScheduleDefinition(name=f"nightly_{job.name}", job=job, cron_schedule="0 4 * * *")


class ReplayConfig(dg.Config):
    """What to repeat."""

    publication_id: str = Field("", description="As in lake.ops.publications. It must be given.")


def replay_job(exposure: Exposure) -> dg.JobDefinition:
    """Repeats what an exposure made of a publication, on one thread; fails when it comes out otherwise."""

    @dg.op(name=f"repeat_{exposure.name}")
    def repeat(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        from ml.replay import replay  # scikit-learn takes 2 s to import

        with told():
            repeated = replay(exposure, config.publication_id, say=context.log.info)
        context.log.info(repeated.sentence)
        context.add_output_metadata({"version": repeated.version_id, "result": repeated.sentence})
        if not repeated.holds:
            raise dg.Failure(f"{repeated.sentence}.", allow_retries=False)

    @dg.job(
        name=f"replay_{exposure.name}",
        description=f"Repeats what {exposure.name} made of a past publication: the same version, the same predictions.",
    )
    def job() -> None:
        repeat()

    return job
