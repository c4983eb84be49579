"""Predictions: the tables that exposures name, one row per publication, version and key."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import duckdb

from ml.exposures import Exposure
from ml.lake import adoption
from ml.lake.sql import listed, quoted, text
from ml.records import standing as standing_rows
from ml.records.publications import Publication
from ml.records.versions import Version

if TYPE_CHECKING:
    import pandas as pd


def table(exposure: Exposure) -> str:
    """An exposure's predictions as a table expression; rows of other exposures may stand beside them."""
    return f"lake.ml.{quoted(exposure.spec.predictions_table)}"


def current(exposure: Exposure) -> str:
    """The champion's predictions of the newest judged rows, of all exposures that share the table, as an expression."""
    return f"lake.ml.{quoted(f'current_{exposure.spec.predictions_table}')}"


def of_scoring(exposure: Exposure, publication_id: str, version_id: str) -> str:
    """A version's predictions of a publication as a table expression, whichever scorings they come from."""
    columns = [*exposure.spec.key_columns, *exposure.predicted_columns]
    one = standing_rows.one(exposure.name, version_id, publication_id)
    made = standing_rows.predictions_sql(exposure.spec.predictions_table, exposure.spec.key_columns, columns, one)
    return f"({made})"


def append(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version: Version, rows: str
) -> int:
    """Add a version's predictions of a publication, inside the caller's transaction; how many.

    Args:
        rows: A table expression of the key and what is predicted of it, as `scoring.predicted` gives it.
    """
    inserted = con.execute(
        f"""
        insert into {table(exposure)} by name
        select
            $exposure as exposure, $publication as publication_id, predicted.*, $version as version_id,
            now() as predicted_at
        from {rows} as predicted
        """,
        {
            "exposure": exposure.name,
            "publication": publication.publication_id,
            "version": version.version_id,
        },
    ).fetchone()
    assert inserted is not None
    return int(inserted[0])


def columns(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> dict[str, str]:
    """The columns of an exposure's table of predictions, with their types."""
    return {row[0]: row[1] for row in con.execute(f"describe {table(exposure)}").fetchall()}


def rows_sql(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    rows: str,
    columns: Mapping[str, str],
) -> str:
    """The query of whole rows of the table, which files hold that are to be adopted: every column of it.

    Args:
        con: Whose transaction says when they are predicted.
        rows: As for `append`.
        columns: As `columns` gives them; the key of other exposures that share the table is NULL.
    """
    ((now,),) = con.execute("select now()::varchar").fetchall()
    values = {
        **{name: f"predicted.{quoted(name)}" for name in (*exposure.spec.key_columns, *exposure.predicted_columns)},
        "exposure": text(exposure.name),
        "publication_id": text(publication.publication_id),
        "version_id": text(version.version_id),
        "predicted_at": text(now),
    }
    made = ", ".join(f"cast({values.get(name, 'null')} as {kind}) as {quoted(name)}" for name, kind in columns.items())
    return f"select {made} from {rows} as predicted"


def adopt(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    version: Version,
    files: Sequence[str],
    rows: int,
) -> None:
    """Make the rows of files, as `rows_sql` gives them, rows of the table, inside the caller's transaction."""
    name = exposure.spec.predictions_table
    required = con.execute(
        """
        select column_name from duckdb_columns()
        where database_name = 'lake' and schema_name = 'ml' and table_name = ? and not is_nullable
        """,
        [name],
    ).fetchall()
    since = (
        f"exposure = {text(exposure.name)} and publication_id = {text(publication.publication_id)} "
        f"and version_id = {text(version.version_id)}"
    )
    for statement in adoption.statements("ml", name, files, since, rows, [row[0] for row in required]):
        con.execute(statement)


def remove(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version: Version, keys: str
) -> None:
    """Say that a version's predictions of some keys stand no more since a publication, in the caller's transaction.

    Args:
        keys: A table expression of the key.
    """
    con.execute(
        f"""
        insert into lake.ml.{quoted(f"removed_{exposure.spec.predictions_table}")} by name
        select
            $exposure as exposure, $publication as publication_id, removed.*, $version as version_id,
            now() as removed_at
        from {keys} as removed
        """,
        {"exposure": exposure.name, "publication": publication.publication_id, "version": version.version_id},
    )


def prune(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> int:
    """Delete predictions that stand no more and that the exposure does not keep, in the caller's transaction.

    Returns:
        How many.
    """
    spec = exposure.spec
    if spec.keep == "all":
        return 0
    aged = "" if spec.keep == "latest" else f"and scored.scored_at < now() - interval {text(spec.keep)}"
    con.execute(
        f"""
        create or replace temp table pruned as
        with {standing_rows.scored_sql(standing_rows.NEWEST)}
        select scored.version_id, scored.publication_id
        from scored
        where scored.exposure = $exposure {aged} and not exists (
            from standing
            where
                standing.exposure = scored.exposure and standing.version_id = scored.version_id
                and scored.snapshot_id between standing.since_snapshot_id and standing.snapshot_id
        )
        """,
        {"exposure": exposure.name},
    )
    deleted = 0
    for place in (table(exposure), f"lake.ml.{quoted(f'removed_{spec.predictions_table}')}", "lake.ml.scorings"):
        counted = con.execute(
            f"delete from {place} where exposure = $exposure and (version_id, publication_id) in (from pruned)",
            {"exposure": exposure.name},
        ).fetchone()
        deleted = deleted or (int(counted[0]) if counted else 0)
    con.execute("drop table pruned")
    return deleted


def of_version(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication_id: str, version_id: str
) -> "pd.DataFrame":
    """The key as text, prediction, lower, upper of a version, in the order of the key.

    Empty where it did not predict the rows. Rows that came back stand under the publication that they had first.
    """
    key = exposure.spec.key_columns
    predicted_as = con.execute(
        "select predicted_publication_id from lake.ops.consumptions where exposure = ? and publication_id = ?",
        [exposure.name, publication_id],
    ).fetchone()
    return con.execute(
        f"""
        select {comparable_sql(exposure)}
        from {of_scoring(exposure, predicted_as[0] if predicted_as else "", version_id)} as predictions
        order by {listed(key, of="predictions")}
        """
    ).df()


def comparable_sql(exposure: Exposure) -> str:
    """Of predictions that a query calls so: the key as text and what is predicted, as a frame can compare it.

    Of classes these are the class and the set as text, and the probabilities as a list, in the order of the classes.
    """
    key = _as_texts(exposure.spec.key_columns)
    if exposure.task == "regression":
        return f"{key}, prediction, lower, upper"
    return (
        f"{key}, cast(prediction as varchar) as prediction, probability, "
        "map_values(probabilities) as probabilities, cast(prediction_set as varchar) as prediction_set"
    )


def standing(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, rows: int) -> "pd.DataFrame":
    """Some of the champion's newest predictions beside the target as it was published: key, target, prediction, and the
    ends, or of classes the probability and the set.

    Args:
        publication: Whose rows are predicted; their key is given as text.
        rows: How many, the first by key; none where nothing was predicted.
    """
    key, target = exposure.spec.key_columns, quoted(exposure.spec.target)
    shown = ("lower", "upper") if exposure.task == "regression" else ("probability", "prediction_set")
    return con.execute(
        f"""
        select
            {_as_texts(key)}, published.{target}, predictions.prediction,
            {listed(shown, of="predictions")}
        from (from {current(exposure)} where exposure = $exposure) as predictions
        inner join (from {publication.table}) as published using ({listed(key)})
        order by {listed(key, of="predictions")}
        limit {rows}
        """,
        {"exposure": exposure.name},
    ).df()


def count_standing(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[str, int, int, int] | None:
    """The newest judged publication, its rows, and the keys and finite predictions of the champion for them.

    None before the first.
    """
    key = listed(exposure.spec.key_columns, of="predictions")
    number = "prediction" if exposure.task == "regression" else "probability"
    return con.execute(
        f"""
        select
            standing.publication_id,
            publications.row_count,
            count(distinct ({key})) filter (where isfinite(predictions.{number})),
            count(predictions.prediction)
        from lake.ml.standing_predictions as standing
        inner join lake.ops.publications as publications on standing.publication_id = publications.publication_id
        left join (from {current(exposure)} where exposure = $exposure) as predictions on true
        where standing.exposure = $exposure
        group by all
        """,
        {"exposure": exposure.name},
    ).fetchone()


def _as_texts(key: Sequence[str]) -> str:
    """The columns of a key as texts under their own names."""
    return ", ".join(f"cast(predictions.{name} as varchar) as {name}" for name in map(quoted, key))
