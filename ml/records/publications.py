"""What was published and not yet consumed, and what came of it: ops.publications and ops.consumptions."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import duckdb

from ml import lake
from ml.lake import locks as catalog
from ml.spec import Exposure


@dataclass(frozen=True)
class Publication:
    """One row of ops.publications: a tested build of a learned-from table."""

    publication_id: str
    relation: str
    snapshot_id: int
    fingerprint: str
    duckdb_version: str
    row_count: int
    invocation_id: str
    built_by: str
    git_commit: str | None
    published_at: datetime

    @property
    def table(self) -> str:
        """The published rows as a table expression, however the table has changed since."""
        return table_at(self.relation, self.snapshot_id)

    def judged_as(self, exposure: Exposure, code: str) -> str:
        """What makes judging it again pointless: the same rows, the same spec, the same code."""
        said = "\n".join([self.fingerprint, self.duckdb_version, exposure.digest(), code])
        return hashlib.sha256(said.encode()).hexdigest()


def table_at(relation: str, snapshot_id: int) -> str:
    """A table of the lake as it was in a snapshot, as a table expression."""
    schema, name = relation.split(".")
    return f'lake."{schema}"."{name}" at (version => {snapshot_id})'


@dataclass(frozen=True)
class Judged:
    """An earlier consumption of the same rows, spec and code."""

    version_id: str
    publication_id: str


COLUMNS = ", ".join(Publication.__dataclass_fields__)


def pending(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> list[Publication]:
    """The publications of the exposure's table that it has not consumed, oldest first."""
    rows = con.execute(
        f"""
        select {COLUMNS}
        from lake.ops.publications as publications
        where relation = ? and not exists (
            from lake.ops.consumptions as consumptions
            where consumptions.publication_id = publications.publication_id and consumptions.exposure = ?
        )
        order by snapshot_id
        """,
        [exposure.relation, exposure.name],
    ).fetchall()
    return [Publication(*row) for row in rows]


def publication(con: duckdb.DuckDBPyConnection, publication_id: str) -> Publication | None:
    """The publication of this id, or None."""
    row = con.execute(
        f"select {COLUMNS} from lake.ops.publications where publication_id = ?", [publication_id]
    ).fetchone()
    return Publication(*row) if row else None


def last_published(con: duckdb.DuckDBPyConnection, relation: str) -> datetime | None:
    """When a table's newest publication was made; None before its first."""
    row = con.execute("select max(published_at) from lake.ops.publications where relation = ?", [relation]).fetchone()
    return row[0] if row else None


def judged(con: duckdb.DuckDBPyConnection, exposure: Exposure, judged_as: str) -> Judged | None:
    """The version that the same rows, spec and code gave before, or None."""
    row = con.execute(
        """
        select version_id, publication_id
        from lake.ops.consumptions
        where exposure = ? and judged_as = ? and version_id is not null
        order by consumed_at
        limit 1
        """,
        [exposure.name, judged_as],
    ).fetchone()
    return Judged(*row) if row else None


def predicted_as(con: duckdb.DuckDBPyConnection, exposure: Exposure, judged_as: str, version_id: str) -> str | None:
    """The publication under which this version's predictions for the same rows stand, or None."""
    row = con.execute(
        f"""
        select consumptions.predicted_publication_id
        from lake.ops.consumptions as consumptions
        where consumptions.exposure = $exposure and consumptions.judged_as = $judged_as and exists (
            from lake.ml."{exposure.spec.predictions}" as predictions
            where predictions.exposure = $exposure and predictions.version_id = $version_id
              and predictions.publication_id = consumptions.predicted_publication_id
        )
        limit 1
        """,
        {"exposure": exposure.name, "judged_as": judged_as, "version_id": version_id},
    ).fetchone()
    return str(row[0]) if row else None


def newest_consumed(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Publication | None:
    """The publication under which the newest judged rows are predicted, or would be; None before the first."""
    row = con.execute(
        """
        select max_by(coalesce(predicted_publication_id, publication_id), consumed_at)
        from lake.ops.consumptions
        where exposure = ? and judged_as is not null
        """,
        [exposure.name],
    ).fetchone()
    return publication(con, row[0]) if row and row[0] else None


def is_predicted(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication_id: str, version_id: str) -> bool:
    """Whether a version's predictions of a publication are there."""
    row = con.execute(
        f"""
        select 1 from lake.ml."{exposure.spec.predictions}"
        where exposure = ? and publication_id = ? and version_id = ?
        limit 1
        """,
        [exposure.name, publication_id, version_id],
    ).fetchone()
    return row is not None


def last_duckdb_version(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str | None:
    """The version of DuckDB that fingerprinted the exposure's newest consumed publication."""
    row = con.execute(
        """
        select max_by(publications.duckdb_version, publications.snapshot_id)
        from lake.ops.consumptions as consumptions
        join lake.ops.publications as publications using (publication_id)
        where consumptions.exposure = ? and consumptions.judged_as is not null
        """,
        [exposure.name],
    ).fetchone()
    return row[0] if row else None


def record(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    outcome: str,
    reason: str,
    *,
    judged_as: str | None = None,
    version_id: str | None = None,
    predicted_as: str | None = None,
    run_id: str | None = None,
) -> None:
    """Write the one row that says what came of a publication; the caller holds the exposure's lock."""
    con.execute(
        "insert into lake.ops.consumptions values (?, ?, ?, ?, ?, ?, ?, ?, now())",
        [exposure.name, publication.publication_id, outcome, reason, judged_as, version_id, predicted_as, run_id],
    )


def give_up(exposure: Exposure, publication_id: str, reason: str) -> None:
    """Record a publication as failed, and leave it to a person; nothing where it was consumed meanwhile.

    Raises:
        LockTimeoutError: Somebody consumes or searches for the exposure; ask again.
    """
    with catalog.lock(catalog.consuming(exposure.name), timeout=1) as confirm, lake.connect() as con:
        for publication in pending(con, exposure):
            if publication.publication_id == publication_id:
                with lake.transaction(con, "ml", f"{exposure.name} {publication_id} failed", confirm):
                    record(con, exposure, publication, "failed", reason)
