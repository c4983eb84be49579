"""What a publication starts: learn, judge, promote, score, all of it in one commit, once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from ml import lake
from ml.code import code_version
from ml.lake import locks as catalog
from ml.lake.artifacts import ArtifactError
from ml.monitoring import live_error
from ml.progress import Say, Stopwatch
from ml.records import publications as ledger
from ml.records import versions as registry
from ml.records.publications import Publication
from ml.records.versions import Version
from ml.spec import MEAN, Exposure

if TYPE_CHECKING:
    import pandas as pd

    from ml.learning.competition import Learned


@dataclass(frozen=True)
class Consumption:
    """What came of a publication.

    Attributes:
        version_id: The version that these rows, spec and code give.
        champion_id: The version that serves now; None when none ever passed the gate.
        predicted_rows: Rows predicted by this run; 0 when their predictions were there already.
        metrics: Held-out metrics of a version trained by this run, by the spec's split; empty otherwise.
        baseline: The same of the mean predictor.
        seconds: Of each stage, in order.
    """

    exposure: str
    publication: Publication
    outcome: str
    reason: str
    version_id: str | None
    champion_id: str | None
    predicted_rows: int
    superseded: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def consume(exposure: Exposure, *, run_id: str | None = None, say: Say = print) -> Consumption | None:
    """Consume the newest publication of the exposure's table that was not consumed yet; None if there is none.

    Older ones are recorded as superseded. The exposure's lock makes it once, one transaction makes it whole.

    Raises:
        LakeUnavailableError: The lake is not up.
        LockLostError: Postgres ended the lock's connection before the commit; nothing was written.
        RowsError, EstimatorError, ParityError, ArtifactError: The publication cannot be consumed; nothing was written.
    """
    with catalog.lock(catalog.consuming(exposure.name), say=say) as confirm, lake.connect() as con:
        waiting = ledger.pending(con, exposure)
        if not waiting:
            say(f"{exposure.name}: every publication of {exposure.relation} is consumed.")
            return None
        return _consume(con, exposure, waiting[-1], waiting[:-1], run_id, confirm, Stopwatch(say))


def _consume(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    older: list[Publication],
    run_id: str | None,
    confirm: Callable[[], None],
    watch: Stopwatch,
) -> Consumption:
    watch.say(f"{exposure.name}: {publication.publication_id}, {publication.row_count:,} rows.")
    judged_as = publication.judged_as(exposure, code_version())
    judged = ledger.judged(con, exposure, judged_as)
    serving = registry.champion(con, exposure.name)
    outdated = registry.outdated(con, exposure, serving, publication) if serving else None
    if serving and outdated:
        watch.say(f"The champion {serving.version_id} {outdated}: it competes no more.")
    learned: Learned | None = None
    if judged:
        outcome, version_id = "unchanged", judged.version_id
        reason = f"the same rows, spec and code as {judged.publication_id}"
        champion = serving
    else:
        _say_why_anew(con, exposure, publication, watch.say)
        from ml.learning.competition import (
            learn,  # scikit-learn takes 2 s to import, which unchanged rows do not wait for
        )

        watch.lap("import")
        defending = registry.defending(con, exposure, serving, publication)
        learned = learn(con, exposure, publication, judged_as, defending, watch)
        version_id, verdict = learned.version.version_id, learned.verdict
        outcome = "refreshed" if learned.refreshed else "trained"
        reason = verdict.reason if verdict.promoted else f"not promoted, {verdict.reason}"
        champion = learned.version if verdict.promoted else serving
    moved = None
    if learned and serving and not outdated:
        try:
            moved = _drift(con, exposure, publication, serving)
            watch.lap("drift", _most_moved(moved))
        except ArtifactError as error:  # a champion that cannot be read shall not keep its follower out
            watch.lap("drift", f"drift is not measured: {error}")
    errors = live_error.measure(con, exposure, publication)
    watch.lap("live error", "; ".join(_turned_out(found) for found in errors))
    predicted_as = ledger.predicted_as(con, exposure, judged_as, champion.version_id) if champion else None
    estimator = None
    if champion and champion == serving and outdated:
        reason += f"; nothing is predicted, as the champion {champion.version_id} {outdated}"
    elif champion and not predicted_as:
        estimator = learned.estimator if learned and champion == learned.version else registry.load(con, champion)
    watch.lap("decide", f"{outcome}: {reason}")

    rows = 0
    with lake.transaction(con, "ml", f"{exposure.name} {publication.publication_id} {outcome}", confirm):
        registry.record_live_errors(con, exposure, publication, errors)
        if learned:
            registry.record(con, exposure, publication, learned.version, learned.judgements)
            if moved is not None:
                registry.record_drift(con, exposure, publication, moved)
            if learned.verdict.promoted:
                registry.promote(con, exposure, learned.version, "gate", learned.verdict.reason)
        if champion and estimator is not None:
            from ml.serving import scoring

            rows = scoring.score(con, exposure, publication, champion, estimator, watch.say)
            predicted_as = publication.publication_id
        for superseded in older:
            ledger.record(
                con,
                exposure,
                superseded,
                "superseded",
                f"{publication.publication_id} is newer",
                run_id=run_id,
            )
        ledger.record(
            con,
            exposure,
            publication,
            outcome,
            reason,
            judged_as=judged_as,
            version_id=version_id,
            predicted_as=predicted_as,
            run_id=run_id,
        )
    watch.lap("commit", f"committed with {rows:,} predictions")
    split = exposure.spec.split
    return Consumption(
        exposure=exposure.name,
        publication=publication,
        outcome=outcome,
        reason=reason,
        version_id=version_id,
        champion_id=champion.version_id if champion else None,
        predicted_rows=rows,
        superseded=tuple(p.publication_id for p in older),
        metrics=learned.judgement.values(split) if learned else {},
        baseline=learned.judgement.values(split, MEAN) if learned else {},
        seconds=watch.seconds,
    )


def _say_why_anew(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, say: Say) -> None:
    last = ledger.last_duckdb_version(con, exposure)
    if last and last != publication.duckdb_version:
        say(
            f"Fingerprints before were made by DuckDB {last}, this one by {publication.duckdb_version}, whose hashes "
            "may differ: the rows are judged anew once, whether they changed or not."
        )


def _drift(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, serving: Version
) -> "pd.DataFrame":
    from ml.monitoring import drift

    learned_from, _ = registry.origin(con, exposure.name, serving.version_id)
    baseline = ledger.publication(con, learned_from)
    assert baseline is not None, f"{serving.version_id} learned from no publication"
    return drift.measure(con, exposure, publication, baseline, serving, registry.load(con, serving))


def _turned_out(found: live_error.LiveError) -> str:
    return (
        f"{found.row_count:,} true values that {found.version_id} had not seen: RMSE {found.rmse:,.0f}, "
        f"{found.coverage:.1%} in its intervals"
    )


def _most_moved(moved: "pd.DataFrame") -> str:
    most = moved.sort_values("psi").iloc[-1]
    return (
        f"{most['column_name']} has moved most since {most['baseline_publication_id']}: PSI {most['psi']:.3f}, "
        f"Kolmogorov-Smirnov {most['ks']:.3f}"
    )
