"""What a publication starts: learn, judge, promote, score, all of it in one commit, once.

What decides nothing about the predictions follows after that commit: `ml.completion`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb

from ml import lake, memory, occasions
from ml.exposures import Exposure
from ml.lake import locks
from ml.progress import Say, Stopwatch
from ml.records import champions, consumptions, migrations, notices, publications, scorings, tables, versions
from ml.records.champions import Standing
from ml.records.consumptions import Judged
from ml.records.publications import Publication
from ml.records.versions import Version
from ml.spec import MEAN

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Waiting:
    """What a consumption finds: the publication that waits, and what stands when it comes.

    Attributes:
        older: Publications that waited too, and are superseded.
        retried: Whether it was left as failed, and a person asked for another try.
        input_hash: Of the rows, the spec and the code.
        judged: An earlier consumption of the same; None where they are new.
    """

    publication: Publication
    older: tuple[Publication, ...]
    retried: bool
    input_hash: str
    judged: Judged | None
    standing: Standing


@dataclass(frozen=True)
class Outcome:
    """What comes out of it, all of it decided, nothing written.

    Attributes:
        champion: The version that serves from now on.
        learned: What was learned from new rows; None where they are unchanged.
        estimator: What predicts the rows; None where that is done already, or the champion cannot.
        predicted_as: The publication under which the champion's predictions of these rows stand already.
    """

    name: str
    reason: str
    version_id: str
    champion: Version | None
    learned: "Learned | None"
    estimator: Any
    predicted_as: str | None


def consume(
    exposure: Exposure,
    *,
    retry: bool = False,
    run_id: str | None = None,
    against: str | None = None,
    say: Say = print,
) -> Consumption | None:
    """Consume the newest publication of the exposure's table that was not consumed yet; None if there is none.

    Older ones are recorded as superseded. The exposure's lock makes it once, one transaction makes it whole.

    Args:
        retry: Whether the table's newest publication is tried once more where it was left as failed; what comes of that
            takes the place of its row in `ops.consumptions`.
        against: The exposure, as the lake names it, whose champion the gate defends instead of this one's own: what
            production's gate would say of what another target learns. Where it has none, its own is defended.

    Raises:
        LakeUnavailableError: The lake is not up.
        LakeVersionError: The lake is of a later release; nothing was written.
        LockLostError: Postgres ended the lock's connection before the commit; nothing was written.
        TableError: Its table of predictions was made for something else; nothing was written.
        RowsError, EstimatorError, ParityError, ArtifactError, MemoryRanOutError: The publication cannot be consumed;
            nothing was written.
    """
    with (
        locks.lock(locks.consuming(exposure.name), say=say) as confirm,
        lake.connect() as con,
        memory.enough(con, exposure),
    ):
        migrations.migrate(con, [exposure], say)
        tables.check(con, exposure)
        watch = Stopwatch(say)
        waiting = _waiting(con, exposure, retry, against, say)
        if waiting is None:
            say(f"{exposure.name}: every publication of {exposure.relation} is consumed.")
            return None
        outcome = _outcome(con, exposure, waiting, watch)
        predicted_rows = _commit(con, exposure, waiting, outcome, run_id, confirm, watch)
    learned, split = outcome.learned, exposure.spec.split
    return Consumption(
        exposure=exposure.name,
        publication=waiting.publication,
        outcome=outcome.name,
        reason=outcome.reason,
        version_id=outcome.version_id,
        champion_id=outcome.champion.version_id if outcome.champion else None,
        predicted_rows=predicted_rows,
        superseded=tuple(publication.publication_id for publication in waiting.older),
        metrics=learned.judgement.values(split) if learned else {},
        baseline=learned.judgement.values(split, MEAN) if learned else {},
        seconds=watch.seconds,
    )


def _waiting(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, retry: bool, against: str | None, say: Say
) -> Waiting | None:
    """What stands: the newest publication that waits, and the champion as it is when that comes."""
    pending = publications.pending(con, exposure)
    failed = consumptions.failed(con, exposure) if retry and not pending else None
    if failed:
        pending = [failed]
    if not pending:
        return None
    *older, publication = pending
    say(f"{exposure.name}: {publication.publication_id}, {publication.row_count:,} rows.")
    input_hash = publication.input_hash(exposure)
    standing = champions.standing(con, exposure, publication)
    if standing.champion and standing.outdated:
        say(f"The champion {standing.champion.version_id} {standing.outdated}: it competes no more.")
    if against is not None:
        theirs = champions.standing(con, replace(exposure, name=against), publication).defender
        standing = replace(standing, defender=theirs or standing.defender)
    judged = consumptions.judged(con, exposure, input_hash)
    if not judged:
        _say_why_anew(con, exposure, publication, say)
    return Waiting(publication, tuple(older), failed is not None, input_hash, judged, standing)


def _outcome(con: duckdb.DuckDBPyConnection, exposure: Exposure, waiting: Waiting, watch: Stopwatch) -> Outcome:
    """What comes out: nothing new where the rows were judged before, otherwise a version and the gate's verdict."""
    publication, standing = waiting.publication, waiting.standing
    learned = None
    if waiting.judged:
        name, version_id, champion = "unchanged", waiting.judged.version_id, standing.champion
        reason = f"the same rows, spec and code as {waiting.judged.publication_id}"
    else:
        from ml.learning.competition import learn  # scikit-learn takes 2 s to import: unchanged rows do not wait for it

        watch.lap("import")
        learned = learn(con, exposure, publication, waiting.input_hash, standing.defender, watch)
        name, version_id = "refreshed" if learned.refreshed else "trained", learned.version.version_id
        champion = learned.version if learned.verdict.promoted else standing.champion
        reason = learned.verdict.reason if learned.verdict.promoted else f"not promoted, {learned.verdict.reason}"
        reason += "".join(f"; {why.removesuffix('.')}" for why in learned.failed.values())
    predicted_as, estimator = None, None
    if champion:
        predicted_as = scorings.predicted_as(con, exposure, waiting.input_hash, champion.version_id)
    if champion and champion == standing.champion and standing.outdated:
        reason += f"; nothing is predicted, as the champion {champion.version_id} {standing.outdated}"
    elif champion and not predicted_as:
        is_new = learned is not None and champion == learned.version
        estimator = learned.estimator if learned and is_new else versions.load(con, exposure.name, champion)
    watch.lap("decide", f"{name}: {reason}")
    return Outcome(name, reason, version_id, champion, learned, estimator, predicted_as)


def _commit(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    waiting: Waiting,
    outcome: Outcome,
    run_id: str | None,
    confirm: Callable[[], None],
    watch: Stopwatch,
) -> int:
    """The commit: version, metrics, promotion, predictions, notices and consumption as one snapshot; the rows
    predicted.
    """
    publication, learned, predicted_as = waiting.publication, outcome.learned, outcome.predicted_as
    rows = 0
    with lake.transaction(con, "ml", f"{exposure.name} {publication.publication_id} {outcome.name}", confirm):
        if learned:
            metrics, heldout = learned.metrics, learned.judgement.heldout
            versions.record(con, exposure, publication, learned.version, learned.rows, metrics, heldout)
            if learned.verdict.promoted:
                champions.promote(con, exposure, learned.version, "gate", learned.verdict.reason)
            else:
                _note_refused(con, exposure, publication, outcome)
        if outcome.champion and outcome.estimator is not None:
            from ml.serving import scoring

            rows = scoring.score(con, exposure, publication, outcome.champion, outcome.estimator, watch.say)
            predicted_as = publication.publication_id
        if waiting.retried:
            consumptions.withdraw_failed(con, exposure, publication)
        consumptions.record(
            con,
            exposure,
            publication,
            outcome.name,
            outcome.reason,
            input_hash=waiting.input_hash,
            version_id=outcome.version_id,
            predicted_as=predicted_as,
            run_id=run_id,
        )
        # Last: DuckLake 1.5.5 forgets the bounds of a column whose first file has NULL alone, if its first commit has
        # other files, and then the next commit's hide that commit's rows from any filter.
        for older in waiting.older:
            reason = f"{publication.publication_id} is newer"
            consumptions.record(con, exposure, older, "superseded", reason, run_id=run_id)
    watch.lap("commit", f"committed with {rows:,} predictions")
    return rows


def _note_refused(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, outcome: Outcome
) -> None:
    learned, champion = outcome.learned, outcome.champion
    assert learned is not None
    text = occasions.refused(
        exposure.name,
        publication.publication_id,
        learned.version.version_id,
        champion.version_id if champion else None,
        learned.verdict.reason,
    )
    notices.note(con, exposure, "refused", publication.publication_id, text)


def give_up(exposure: Exposure, publication_id: str, reason: str) -> None:
    """Record a publication as failed, and leave it to a person; nothing where it was consumed meanwhile.

    Raises:
        LakeVersionError: The lake is of a later release; nothing was written.
        LockTimeoutError: Somebody consumes or searches for the exposure; ask again.
    """
    with locks.lock(locks.consuming(exposure.name), timeout=1) as confirm, lake.connect() as con:
        migrations.require(con)
        for publication in publications.pending(con, exposure):
            if publication.publication_id == publication_id:
                with lake.transaction(con, "ml", f"{exposure.name} {publication_id} failed", confirm):
                    consumptions.record(con, exposure, publication, "failed", reason)
                    text = occasions.failed(exposure.name, publication_id, reason)
                    notices.note(con, exposure, "failed", publication_id, text)


def _say_why_anew(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, say: Say) -> None:
    last = consumptions.last_duckdb_version(con, exposure)
    if last and last != publication.duckdb_version:
        say(
            f"Fingerprints before were made by DuckDB {last}, this one by {publication.duckdb_version}, whose hashes "
            "may differ: the rows are judged anew once, whether they changed or not."
        )
