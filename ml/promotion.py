"""The way back, and any other: a person makes a version the champion, and predictions follow in the same commit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb

from ml import lake, memory
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake import locks
from ml.progress import Say
from ml.records import champions, migrations, scorings, tables, versions
from ml.records.publications import Publication
from ml.records.versions import Version


class PromotionError(TractError):
    """The champion cannot be changed; the message names the versions that there are."""


@dataclass(frozen=True)
class Promotion:
    """What came of it.

    Attributes:
        publication_id: The newest publication that was consumed, whose predictions are this version's now.
        predicted_rows: Rows predicted for it; 0 when they were there already, or nothing was consumed yet.
    """

    version_id: str
    before_id: str | None
    publication_id: str | None
    predicted_rows: int


def promote(exposure: Exposure, version_id: str, *, by: str, reason: str, say: Say = print) -> Promotion:
    """Make a registered version the champion, and predict the newest consumed publication with it.

    Args:
        by: Who decides.
        reason: Why; both are kept in ml.promotions.

    Raises:
        PromotionError: No reason is given, there is no such version, it serves already, or it was made for another
            question.
        TableError: The exposure's table of predictions was made for something else.
        ArtifactError: Its file is missing or was changed.
        LakeUnavailableError: The lake is not up.
    """
    return _promote(exposure, lambda con: version_id, by, reason, say)


def _promote(
    exposure: Exposure, choose: Callable[[duckdb.DuckDBPyConnection], str], by: str, reason: str, say: Say
) -> Promotion:
    """Promote the version that is chosen under the lock, so that nobody changes the champion in between."""
    if not reason.strip():
        raise PromotionError(
            f"No reason is given for another champion of {exposure.name}. Give one as `reason`: lake.ml.promotions "
            "keeps who changed the champion, and why."
        )
    with (
        locks.lock(locks.consuming(exposure.name), say=say) as confirm,
        lake.connect() as con,
        memory.enough(con, exposure),
    ):
        migrations.migrate(con, [exposure], say)
        tables.check(con, exposure)
        champion = champions.champion(con, exposure.name)
        version_id = choose(con)
        version = versions.version(con, exposure.name, version_id)
        if version is None:
            raise PromotionError(
                f"Exposure {exposure.name} has no version {version_id}. It has {_listed(con, exposure)}."
            )
        if champion == version:
            raise PromotionError(f"Version {version_id} of {exposure.name} is the champion already.")
        estimator = versions.load(con, exposure.name, version)
        publication = champions.newest_predicted(con, exposure)
        if publication and (why := champions.outdated(con, exposure, version, publication)):
            raise PromotionError(f"Version {version_id} of {exposure.name} {why}. Promote one that can predict it.")
        with lake.transaction(con, by, f"{exposure.name} promote {version_id}", confirm):
            rows = serve(con, exposure, publication, version, estimator, by=by, reason=reason, say=say)
    before = champion.version_id if champion else None
    say(f"{exposure.name}: {version_id} is the champion, before it {before}; predicted {rows:,} rows.")
    return Promotion(version_id, before, publication.publication_id if publication else None, rows)


def serve(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication | None,
    version: Version,
    estimator: Any,
    *,
    by: str,
    reason: str,
    say: Say,
) -> int:
    """Make a version the champion, and predict a publication with it unless it has; inside the caller's transaction.

    Returns:
        The rows that were predicted.
    """
    champions.promote(con, exposure, version, by, reason)
    if publication is None or version.version_id in scorings.versions_of(con, exposure, publication.publication_id):
        return 0
    from ml.serving import scoring  # scikit-learn takes 2 s to import

    return scoring.score(con, exposure, publication, version, estimator, say)


def rollback(exposure: Exposure, *, by: str, reason: str, say: Say = print) -> Promotion:
    """Make the champion before this one the champion again.

    Raises:
        PromotionError: No reason is given, or there was none before.
        ArtifactError, LakeUnavailableError: As `promote`.
    """
    return _promote(exposure, lambda con: _before(con, exposure), by, reason, say)


def _before(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str:
    before = champions.champion_before(con, exposure.name)
    if before is None:
        raise PromotionError(
            f"Exposure {exposure.name} has no champion before this one to go back to. Name a version to "
            f"promote: {_listed(con, exposure)}."
        )
    return before


def _listed(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str:
    newest = versions.version_ids(con, exposure.name)[:-11:-1]
    return ", ".join(newest) or "none yet"
