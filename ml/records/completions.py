"""Completions: ops.completions, a row per consumption whose rows were judged, what was measured after its commit."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from ml.exposures import Exposure
from ml.records import publications, tables
from ml.records.publications import Publication


@dataclass(frozen=True)
class Pending:
    """A consumption that is not complete.

    Attributes:
        learned: Whether it made a version; not where its rows had been judged before.
    """

    publication: Publication
    version_id: str
    input_hash: str
    learned: bool
    consumed_at: datetime


def pending(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> list[Pending]:
    """What was consumed and not completed yet, the oldest first."""
    rows = con.execute(
        """
        select publication_id, version_id, input_hash, outcome <> 'unchanged', consumed_at
        from lake.ops.consumptions as consumptions
        where exposure = ? and input_hash is not null and not exists (
            from lake.ops.completions as completions
            where
                completions.exposure = consumptions.exposure
                and completions.publication_id = consumptions.publication_id
        )
        order by consumed_at
        """,
        [exposure.name],
    ).fetchall()
    found = []
    for publication_id, *rest in rows:
        publication = publications.publication(con, publication_id)
        assert publication is not None, f"{publication_id} was consumed, and never published"
        found.append(Pending(publication, *rest))
    return found


def record(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, reason: str, run_id: str | None = None
) -> None:
    """Write that a consumption is complete, inside the caller's transaction and under the exposure's lock for it."""
    row = {
        "exposure": exposure.name,
        "publication_id": publication.publication_id,
        "reason": reason,
        "run_id": run_id,
    }
    tables.insert(con, "ops.completions", row, moment="completed_at")
