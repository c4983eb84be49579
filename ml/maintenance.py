"""Keeping the lake small: old snapshots expire, small files are merged, what nothing refers to is removed.

The policy: a snapshot is kept for `KEEP_DAYS`, and for ever when a registered version learned from it, or it is the
newest publication of its table, or the one under which an exposure's newest predictions stand. An artifact is kept as
long as a registered version names it. Files that no commit refers to are removed a day after they were written, so that
a run that has not committed yet keeps its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
from pyarrow import fs

from ml import lake
from ml.exposures import Exposure
from ml.lake import locks
from ml.progress import Say
from ml.records import consumptions, migrations, predictions, versions

KEEP_DAYS = 30
GRACE = timedelta(days=1)


@dataclass(frozen=True)
class Maintenance:
    """What was done, in numbers of things."""

    expired_snapshots: int
    kept_snapshots: int
    merged_files: int
    removed_files: int
    removed_artifacts: int
    pruned_predictions: int


def maintain(
    exposures: Iterable[Exposure] = (),
    *,
    keep: timedelta = timedelta(days=KEEP_DAYS),
    grace: timedelta = GRACE,
    say: Say = print,
) -> Maintenance:
    """Apply the policy; safe beside readers, builds and training.

    Args:
        exposures: Whose predictions are pruned as their specs say.
        keep: Age up to which every snapshot is kept.
        grace: Age from which a file that nothing refers to is removed.

    Raises:
        LakeUnavailableError: The lake is not up.
    """
    with locks.lock("maintenance", say=say), migrations.entered() as con:
        now = datetime.now(UTC)
        pruned = sum(_prune(con, exposure, say) for exposure in exposures if exposure.spec.keep != "all")
        pinned = consumptions.pinned_snapshots(con)
        old = _snapshots_before(con, now - keep)
        expired = [snapshot for snapshot in old if snapshot not in pinned]
        if expired:
            con.execute(f"call ducklake_expire_snapshots('lake', versions => {expired})")
        say(f"expired {len(expired)} snapshots older than {keep}, kept {len(old) - len(expired)} pinned ones")
        merged = con.execute("call ducklake_merge_adjacent_files('lake')").fetchall()
        say(f"merged the small files of {len(merged)} tables")
        before = f"older_than => timestamptz '{(now - grace).isoformat()}'"
        unused = con.execute(f"call ducklake_cleanup_old_files('lake', {before})").fetchall()
        orphaned = con.execute(f"call ducklake_delete_orphaned_files('lake', {before})").fetchall()
        say(f"removed {len(unused) + len(orphaned)} files that no snapshot refers to")
        artifacts = _remove_artifacts(con, now - grace)
        say(f"removed {artifacts} artifacts that no version names")
        removed = len(unused) + len(orphaned)
        return Maintenance(len(expired), len(old) - len(expired), len(merged), removed, artifacts, pruned)


def _prune(con: duckdb.DuckDBPyConnection, exposure: Exposure, say: Say) -> int:
    """Delete the predictions that an exposure does not keep; how many. Nobody may be scoring for it meanwhile."""
    with (
        locks.lock(locks.consuming(exposure.name), say=say) as confirm,
        lake.transaction(con, "ml", f"{exposure.name} prune", confirm),
    ):
        pruned = predictions.prune(con, exposure)
    say(f"pruned {pruned:,} predictions of {exposure.name} that stand no more; it keeps {exposure.spec.keep}")
    return pruned


def _snapshots_before(con: duckdb.DuckDBPyConnection, moment: datetime) -> list[int]:
    """The snapshots older than a moment, less the newest of all, which is what the lake is."""
    rows = con.execute(
        """
        select snapshot_id from ducklake_snapshots('lake')
        where snapshot_time < ? and snapshot_id < (select max(snapshot_id) from ducklake_snapshots('lake'))
        order by snapshot_id
        """,
        [moment],
    ).fetchall()
    return [int(row[0]) for row in rows]


def _remove_artifacts(con: duckdb.DuckDBPyConnection, moment: datetime) -> int:
    """Remove artifacts written before a moment that no version names; how many."""
    named = {uri.rsplit("/", 1)[1] for uri in versions.artifact_uris(con)}
    store = lake.store()  # SQL cannot delete
    removed = 0
    for path in _written_before(store, "artifacts", moment):
        if path.rsplit("/", 1)[1] not in named:
            store.delete_file(path)
            removed += 1
    return removed


def _written_before(store: fs.FileSystem, directory: str, moment: datetime) -> Iterable[str]:
    found = store.get_file_info(fs.FileSelector(directory, allow_not_found=True))
    return [info.path for info in found if info.type == fs.FileType.File and info.mtime < moment]
