"""Predictions: the tables that exposures name, one row per publication, version and key."""

from typing import TYPE_CHECKING

import duckdb

from ml.exposures import Exposure
from ml.lake.sql import quoted
from ml.records.publications import Publication
from ml.records.versions import Version

if TYPE_CHECKING:
    import pandas as pd


def table(exposure: Exposure) -> str:
    """An exposure's predictions as a table expression; rows of other exposures may stand beside them."""
    return f"lake.ml.{quoted(exposure.spec.predictions)}"


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


def versions_of(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication_id: str) -> list[str]:
    """The versions that have predicted a publication, by name."""
    rows = con.execute(
        f"""
        select distinct version_id from {table(exposure)}
        where exposure = ? and publication_id = ?
        order by version_id
        """,
        [exposure.name, publication_id],
    ).fetchall()
    return [row[0] for row in rows]


def predicted_as(con: duckdb.DuckDBPyConnection, exposure: Exposure, input_hash: str, version_id: str) -> str | None:
    """The publication under which this version's predictions for the same rows stand, or None."""
    row = con.execute(
        f"""
        select consumptions.predicted_publication_id
        from lake.ops.consumptions as consumptions
        where consumptions.exposure = $exposure and consumptions.input_hash = $input_hash and exists (
            from {table(exposure)} as predictions
            where predictions.exposure = $exposure and predictions.version_id = $version_id
              and predictions.publication_id = consumptions.predicted_publication_id
        )
        limit 1
        """,
        {"exposure": exposure.name, "input_hash": input_hash, "version_id": version_id},
    ).fetchone()
    return str(row[0]) if row else None


def of_version(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication_id: str, version_id: str
) -> "pd.DataFrame":
    """The key as text, prediction, lower, upper of a version, in the order of the key.

    Empty where it did not predict the rows. Rows that came back stand under the publication that they had first.
    """
    key = quoted(exposure.spec.key)
    return con.execute(
        f"""
        select {comparable_sql(exposure)}
        from {table(exposure)} as predictions
        where exposure = $exposure and version_id = $version and publication_id = (
            select predicted_publication_id from lake.ops.consumptions
            where exposure = $exposure and publication_id = $publication
        )
        order by predictions.{key}
        """,
        {"exposure": exposure.name, "version": version_id, "publication": publication_id},
    ).df()


def comparable_sql(exposure: Exposure) -> str:
    """Of predictions that a query calls so: the key as text and what is predicted, as a frame can compare it.

    Of classes these are the class and the set as text, and the probabilities as a list, in the order of the classes.
    """
    key = quoted(exposure.spec.key)
    if exposure.task == "regression":
        return f"cast(predictions.{key} as varchar) as {key}, prediction, lower, upper"
    return (
        f"cast(predictions.{key} as varchar) as {key}, cast(prediction as varchar) as prediction, probability, "
        "map_values(probabilities) as probabilities, cast(prediction_set as varchar) as prediction_set"
    )


def standing(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, rows: int) -> "pd.DataFrame":
    """Some of the champion's newest predictions beside the target as it was published: key, target, prediction, and the
    ends, or of classes the probability and the set.

    Args:
        publication: Whose rows are predicted; their key is given as text.
        rows: How many, the first by key; none where nothing was predicted.
    """
    key, target = quoted(exposure.spec.key), quoted(exposure.spec.target)
    shown = ("lower", "upper") if exposure.task == "regression" else ("probability", "prediction_set")
    beside = ", ".join(f"predictions.{name}" for name in shown)
    return con.execute(
        f"""
        select
            cast(predictions.{key} as varchar) as {key}, published.{target}, predictions.prediction,
            {beside}
        from {_STANDING.format(table=table(exposure))} as predictions
        inner join (from {publication.table}) as published using ({key})
        order by predictions.{key}
        limit {rows}
        """,
        {"exposure": exposure.name},
    ).df()


def count_standing(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[str, int, int, int] | None:
    """The newest judged publication, its rows, and the keys and finite predictions of the champion for them.

    None before the first.
    """
    number = "prediction" if exposure.task == "regression" else "probability"
    return con.execute(
        f"""
        select
            standing.publication_id,
            publications.row_count,
            count(distinct predictions.{quoted(exposure.spec.key)}) filter (where isfinite(predictions.{number})),
            count(predictions.prediction)
        from lake.ml.standing_predictions as standing
        inner join lake.ops.publications as publications on standing.publication_id = publications.publication_id
        left join {_STANDING.format(table=table(exposure))} as predictions on true
        where standing.exposure = $exposure
        group by all
        """,
        {"exposure": exposure.name},
    ).fetchone()


# The champion's predictions of the newest judged rows, as a table expression.
_STANDING = """(
    select predictions.*
    from {table} as predictions
    inner join lake.ml.standing_predictions as standing
        on predictions.exposure = standing.exposure
        and predictions.publication_id = standing.predicted_publication_id
        and predictions.version_id = standing.version_id
    where predictions.exposure = $exposure
)"""
