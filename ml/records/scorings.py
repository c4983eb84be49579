"""Scorings: ml.scorings, a row per exposure, version and publication that it predicted."""

from dataclasses import dataclass

import duckdb

from ml.exposures import Exposure
from ml.records import tables
from ml.records.publications import Publication, publication
from ml.records.versions import Version


@dataclass(frozen=True)
class Scoring:
    """What a version predicted.

    Attributes:
        since: The publication all of whose rows were predicted; those between were predicted as far as they changed.
    """

    publication: Publication
    since: str


def last(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, before: Publication) -> Scoring | None:
    """A version's newest scoring of an older publication of the same table, if its snapshot can still be read."""
    found = con.execute(
        """
        select scorings.publication_id, scorings.since_publication_id
        from lake.ml.scorings as scorings
        inner join lake.ops.publications as publications on scorings.publication_id = publications.publication_id
        where
            scorings.exposure = $exposure and scorings.version_id = $version
            and publications.relation = $relation and publications.snapshot_id < $snapshot
            and publications.snapshot_id in (select snapshot_id from ducklake_snapshots('lake'))
        order by publications.snapshot_id desc
        limit 1
        """,
        {
            "exposure": exposure.name,
            "version": version.version_id,
            "relation": before.relation,
            "snapshot": before.snapshot_id,
        },
    ).fetchone()
    if found is None:
        return None
    scored = publication(con, found[0])
    assert scored is not None, f"{found[0]} was scored and is no publication"
    return Scoring(scored, found[1])


def versions_of(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication_id: str) -> list[str]:
    """The versions that have predicted a publication, by name."""
    rows = con.execute(
        """
        select distinct version_id from lake.ml.scorings
        where exposure = ? and publication_id = ?
        order by version_id
        """,
        [exposure.name, publication_id],
    ).fetchall()
    return [row[0] for row in rows]


def predicted_as(con: duckdb.DuckDBPyConnection, exposure: Exposure, input_hash: str, version_id: str) -> str | None:
    """The publication under which this version's predictions for the same rows stand, or None; see
    `consumptions.judged` for why the hash is within `concat`.
    """
    row = con.execute(
        """
        select consumptions.predicted_publication_id
        from lake.ops.consumptions as consumptions
        inner join lake.ml.scorings as scorings
            on
                consumptions.exposure = scorings.exposure
                and consumptions.predicted_publication_id = scorings.publication_id
        where
            consumptions.exposure = $exposure and concat(consumptions.input_hash) = $input_hash
            and scorings.version_id = $version_id
        limit 1
        """,
        {"exposure": exposure.name, "input_hash": input_hash, "version_id": version_id},
    ).fetchone()
    return str(row[0]) if row else None


def record(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    rows: int,
    since: Scoring | None,
) -> None:
    """Write what a version predicted, inside the caller's transaction.

    Args:
        rows: How many.
        since: The scoring that they add to; None where all rows were predicted.
    """
    scoring = {
        "exposure": exposure.name,
        "version_id": version.version_id,
        "publication_id": publication.publication_id,
        "since_publication_id": since.since if since else publication.publication_id,
        "row_count": rows,
    }
    tables.insert(con, "ml.scorings", scoring, moment="scored_at")
