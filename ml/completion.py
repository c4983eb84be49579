"""What a consumption leaves for after its commit: predictions wait for nothing that decides nothing about them.

Held-out errors by the splits that the gate does not judge by, the drift of the rows, the errors of the predictions
before. All of it follows from what the lake holds, so whoever comes next finishes what was cut off, with the same
numbers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import duckdb

from ml import lake, memory, occasions
from ml.exposures import Exposure
from ml.lake import locks
from ml.lake.artifacts import ArtifactError
from ml.monitoring import live_error
from ml.monitoring.live_error import LiveError
from ml.progress import Say, Stopwatch
from ml.records import champions, completions, findings, migrations, notices, overview, versions
from ml.records.champions import Standing
from ml.records.completions import Pending
from ml.records.publications import Publication
from ml.spec import MEAN

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CHANGED = "nothing was measured: the spec or the code is another than when it was consumed"


@dataclass(frozen=True)
class Completion:
    """What was measured of a publication.

    Attributes:
        reason: That, or why nothing, in words.
        seconds: Of each stage, in order.
    """

    publication_id: str
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)


def complete(exposure: Exposure, *, run_id: str | None = None, say: Say = print) -> list[Completion]:
    """Complete what was consumed, the oldest first; nothing where nothing is pending.

    A lock of its own makes each once; publications are consumed meanwhile. One transaction makes each whole.

    Raises:
        LakeUnavailableError: The lake is not up.
        LakeVersionError: The lake is of a later release; nothing was written.
        LockLostError: Postgres ended the lock's connection before the commit; nothing of that publication was written.
        MemoryRanOutError: It takes more memory than there may be.
    """
    with (
        locks.lock(locks.completing(exposure.name), say=say) as confirm,
        lake.connect() as con,
        memory.enough(con, exposure),
    ):
        migrations.migrate(con, [exposure], say)
        return [_complete(con, exposure, one, run_id, confirm, say) for one in completions.pending(con, exposure)]


def give_up(exposure: Exposure, publication_id: str, reason: str) -> None:
    """Record that nothing more is measured of a publication; nothing where it was completed meanwhile.

    Raises:
        LakeVersionError: The lake is of a later release; nothing was written.
        LockTimeoutError: Somebody completes the exposure; ask again.
    """
    with locks.lock(locks.completing(exposure.name), timeout=1) as confirm, lake.connect() as con:
        migrations.require(con)
        for one in completions.pending(con, exposure):
            if one.publication.publication_id == publication_id:
                with lake.transaction(con, "ml", f"{exposure.name} {publication_id} not completed", confirm):
                    completions.record(con, exposure, one.publication, reason)


def _complete(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    pending: Pending,
    run_id: str | None,
    confirm: Callable[[], None],
    say: Say,
) -> Completion:
    publication, watch = pending.publication, Stopwatch(say)
    metrics = heldout = moved = None
    errors: list[LiveError] = []
    if publication.input_hash(exposure) == pending.input_hash:
        standing = champions.standing(con, exposure, publication, before=pending.consumed_at)
        told = []
        if pending.learned:
            metrics, heldout, judged = _judged(con, exposure, pending, standing, watch)
            moved, drifted = _drift(con, exposure, pending, standing, watch)
            told += [judged, drifted]
        errors = live_error.measure(con, exposure, publication, pending.consumed_at)
        told += [_turned_out(error) for error in errors]
        watch.lap("live error", "; ".join(_turned_out(error) for error in errors))
        reason = "; ".join(filter(None, told)) or "there was nothing to measure"
    else:
        reason = CHANGED
        say(f"{publication.publication_id}: {reason}.")
    with lake.transaction(con, "ml", f"{exposure.name} {publication.publication_id} completed", confirm):
        if metrics is not None and heldout is not None:
            versions.record_judgement(con, exposure, pending.version_id, metrics, heldout)
        if moved is not None:
            findings.record_drift(con, exposure, publication, moved)
        findings.record_live_errors(con, exposure, publication, [asdict(error) for error in errors])
        _note(con, exposure, publication, moved, errors)
        completions.record(con, exposure, publication, reason, run_id)
    watch.lap("commit", f"completed {publication.publication_id}")
    return Completion(publication.publication_id, reason, watch.seconds)


def _judged(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, pending: Pending, standing: Standing, watch: Stopwatch
) -> tuple["pd.DataFrame | None", "pd.DataFrame | pa.Table | None", str]:
    """Metrics and held-out predictions by the splits that the gate did not judge by, and how good, in words."""
    version = versions.version(con, exposure.name, pending.version_id)
    assert version is not None, f"{pending.version_id} was consumed, and never made"
    there = versions.metrics(con, exposure.name, version.version_id)
    splits = [split for split in exposure.spec.splits if split not in set(there["split"])]
    if not splits:
        return None, None, ""
    from ml.learning.competition import judge_later  # scikit-learn takes 2 s to import

    watch.lap("import")
    names = set(there["candidate"]) - {MEAN}
    judged = judge_later(con, exposure, pending.publication, standing.defender, version, names, splits, watch)
    if judged is None:
        return None, None, f"{version.candidate} is not judged by {' and '.join(splits)} folds, as it fails there"
    return *judged, f"judged by {' and '.join(splits)} folds"


def _drift(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, pending: Pending, standing: Standing, watch: Stopwatch
) -> tuple["pd.DataFrame | None", str]:
    """How far the rows have moved from those that the champion had learned from; None where it cannot be asked."""
    champion = standing.champion
    if champion is None or standing.outdated:
        return None, ""
    from ml.learning.fits import EstimatorError
    from ml.monitoring import drift

    baseline, _ = versions.origin(con, exposure.name, champion.version_id)
    try:
        estimator = versions.load(con, exposure.name, champion)
        moved = drift.measure(con, exposure, pending.publication, baseline, champion, estimator)
    except (ArtifactError, EstimatorError) as error:  # a champion that cannot be read or predict keeps no follower out
        told = f"drift is not measured: {error}"
        watch.lap("drift", told)
        return None, told
    told = _most_moved(moved)
    watch.lap("drift", told)
    return moved, told


def _note(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    moved: "pd.DataFrame | None",
    errors: list[LiveError],
) -> None:
    """Note what people are told of, inside the caller's transaction: columns that moved far, promises not kept."""
    name, publication_id = exposure.name, publication.publication_id
    if moved is not None:
        far = moved[(moved["psi"] > occasions.PSI_FAR) | (moved["ks"] > occasions.KS_FAR)]
        if len(far):
            most = far.sort_values("psi").iloc[-1]
            baseline, column = most["baseline_publication_id"], most["column_name"]
            text = occasions.drifted(name, publication_id, baseline, column, most["psi"], most["ks"], len(far))
            notices.note(con, exposure, "drifted", publication_id, text)
    asked = exposure.spec.coverage
    short = [
        error
        for error in errors
        if error.row_count >= occasions.FEWEST_ROWS and error.coverage < asked - occasions.COVERAGE_SHORT
    ]
    if short:
        least = min(short, key=lambda error: error.coverage)
        text = occasions.coverage(
            name, publication_id, least.version_id, _promised(least), least.row_count, least.coverage, asked
        )
        notices.note(con, exposure, "coverage", publication_id, text)


def _turned_out(error: LiveError) -> str:
    return (
        f"{error.row_count:,} true values that {error.version_id} had not seen: {overview.turned_out(asdict(error))}, "
        f"{error.coverage:.1%} in its {_promised(error)}"
    )


def _promised(error: LiveError) -> str:
    """What holds the true values: sets of classes, or intervals of numbers."""
    return "sets" if error.rmse is None else "intervals"


def _most_moved(moved: "pd.DataFrame") -> str:
    most = moved.sort_values("psi").iloc[-1]
    return (
        f"{most['column_name']} has moved most since {most['baseline_publication_id']}: PSI {most['psi']:.3f}, "
        f"Kolmogorov-Smirnov {most['ks']:.3f}"
    )
