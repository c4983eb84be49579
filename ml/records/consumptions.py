"""Consumptions: ops.consumptions, a row per exposure and publication, what came of it."""

from dataclasses import dataclass
from typing import Any

import duckdb

from ml.exposures import Exposure
from ml.records import tables
from ml.records.publications import Publication, publication


@dataclass(frozen=True)
class Judged:
    """An earlier consumption of the same rows, spec and code."""

    version_id: str
    publication_id: str


def judged(con: duckdb.DuckDBPyConnection, exposure: Exposure, input_hash: str) -> Judged | None:
    """The version that the same rows, spec and code gave before, or None.

    Lakes whose first consumption superseded others, before this release, have bounds of input_hash without the first
    one's: `concat` is what the bounds decide nothing about.
    """
    row = con.execute(
        """
        select version_id, publication_id
        from lake.ops.consumptions
        where exposure = ? and concat(input_hash) = ? and version_id is not null
        order by consumed_at
        limit 1
        """,
        [exposure.name, input_hash],
    ).fetchone()
    return Judged(*row) if row else None


def of(con: duckdb.DuckDBPyConnection, exposure_name: str, publication_id: str) -> dict[str, Any] | None:
    """What came of a publication, the whole row; None while it is not consumed."""
    query = "from lake.ops.consumptions where exposure = ? and publication_id = ?"
    return next(iter(tables.rows(con, query, [exposure_name, publication_id])), None)


def last_duckdb_version(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str | None:
    """The version of DuckDB that fingerprinted the exposure's newest consumed publication."""
    row = con.execute(
        """
        select publications.duckdb_version
        from lake.ml.standing_predictions as standing
        inner join lake.ops.publications as publications on standing.publication_id = publications.publication_id
        where standing.exposure = ?
        """,
        [exposure.name],
    ).fetchone()
    return row[0] if row else None


def pinned_snapshots(con: duckdb.DuckDBPyConnection) -> set[int]:
    """The snapshots that must stay: learned from by a registered version, published and the newest of their table, or
    predicted as the newest that an exposure consumed, which a promotion predicts again.

    The newest publication of a table is the one that waits, if one waits; older ones are superseded unread.
    """
    rows = con.execute(
        """
        select snapshot_id from lake.ml.model_versions
        union
        select max(snapshot_id) from lake.ops.publications group by relation
        union
        select publications.snapshot_id
        from lake.ml.standing_predictions as standing
        inner join lake.ops.publications as publications
            on standing.predicted_publication_id = publications.publication_id
        """
    ).fetchall()
    return {int(row[0]) for row in rows}


def failed(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Publication | None:
    """The newest publication of the exposure's table, where it was left as failed; else None."""
    row = con.execute(
        """
        select max_by(consumptions.publication_id, publications.snapshot_id)
        from lake.ops.publications as publications
        left join lake.ops.consumptions as consumptions
            on publications.publication_id = consumptions.publication_id and consumptions.exposure = $exposure
        where publications.relation = $relation
        having max_by(consumptions.outcome, publications.snapshot_id) = 'failed'
        """,
        {"exposure": exposure.name, "relation": exposure.relation},
    ).fetchone()
    return publication(con, row[0]) if row else None


def withdraw_failed(con: duckdb.DuckDBPyConnection, exposure: Exposure, of: Publication) -> None:
    """Take the row away that left a publication as failed, in the transaction that says what came of another try."""
    con.execute(
        "delete from lake.ops.consumptions where exposure = ? and publication_id = ? and outcome = 'failed'",
        [exposure.name, of.publication_id],
    )


def record(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    outcome: str,
    reason: str,
    *,
    input_hash: str | None = None,
    version_id: str | None = None,
    predicted_as: str | None = None,
    run_id: str | None = None,
) -> None:
    """Write the one row that says what came of a publication; the caller holds the exposure's lock."""
    consumption = {
        "exposure": exposure.name,
        "publication_id": publication.publication_id,
        "outcome": outcome,
        "reason": reason,
        "input_hash": input_hash,
        "version_id": version_id,
        "predicted_publication_id": predicted_as,
        "run_id": run_id,
    }
    tables.insert(con, "ops.consumptions", consumption, moment="consumed_at")
