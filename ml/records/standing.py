"""Which predictions stand: those of a scoring of all rows, less what later scorings by the same version changed.

A scoring of changed rows alone (`predictions: {incremental: true}`) adds the rows that are new or changed since the
version's scoring before, and names the keys that are gone. Nothing that was written is touched.
"""

from collections.abc import Iterable

from ml.lake.sql import listed, quoted, text

# The newest judged rows of every exposure, as a query of what stands.
NEWEST = (
    "select exposure, version_id, predicted_publication_id as publication_id from lake.ml.standing_predictions "
    "where version_id is not null"
)


def one(exposure: str, version_id: str, publication_id: str) -> str:
    """A version's predictions of a publication, as a query of what stands."""
    return (
        f"select {text(exposure)} as exposure, {text(version_id)} as version_id, "
        f"{text(publication_id)} as publication_id"
    )


def scored_sql(standing: str) -> str:
    """Two named queries: `scored`, all scorings with the snapshots that they are of and add to, and `standing`, those
    of them that a query of what stands names.
    """
    return f"""
        scored as (
            select
                scorings.exposure, scorings.version_id, scorings.publication_id, scorings.since_publication_id,
                scorings.scored_at, publications.snapshot_id, since.snapshot_id as since_snapshot_id
            from lake.ml.scorings as scorings
            inner join lake.ops.publications as publications on scorings.publication_id = publications.publication_id
            inner join lake.ops.publications as since on scorings.since_publication_id = since.publication_id
        ),

        standing as (
            select scored.* from scored inner join ({standing}) using (exposure, version_id, publication_id)
        )
    """


def predictions_sql(table: str, key: Iterable[str], columns: Iterable[str], standing: str) -> str:
    """A query of the predictions that stand, a row per exposure and key.

    Args:
        table: The table of predictions in the schema ml.
        columns: That are asked for.
        standing: A query of exposure, version_id and publication_id, `NEWEST` or `one`.
    """
    keys, asked = listed(key), listed(columns, of="predicted")
    return f"""
        with {scored_sql(standing)},

        -- the scorings of changed rows since all were scored (every table of DuckLake has a column snapshot_id)
        steps as (
            select scored.exposure, scored.version_id, scored.publication_id, scored.snapshot_id as step
            from scored
            inner join standing on scored.exposure = standing.exposure and scored.version_id = standing.version_id
            where scored.snapshot_id > standing.since_snapshot_id and scored.snapshot_id <= standing.snapshot_id
        ),

        changes as (
            select exposure, version_id, {keys}, step
            from lake.ml.{quoted(table)}
            inner join steps using (exposure, version_id, publication_id)
            union all
            select exposure, version_id, {keys}, step
            from lake.ml.{quoted(f"removed_{table}")}
            inner join steps using (exposure, version_id, publication_id)
        ),

        last_changes as (
            select exposure, version_id, {keys}, max(step) as step from changes group by all
        )

        select {asked}
        from lake.ml.{quoted(table)} as predicted
        semi join (select exposure, version_id, since_publication_id as publication_id from standing)
            using (exposure, version_id, publication_id)
        anti join last_changes using (exposure, version_id, {keys})
        union all
        select {asked}
        from lake.ml.{quoted(table)} as predicted
        inner join steps using (exposure, version_id, publication_id)
        semi join last_changes using (exposure, version_id, {keys}, step)
    """
