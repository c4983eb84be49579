"""What was measured: drift, live errors, importance, partial dependence, trials; and the cards that tell of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from ml.exposures import Exposure
from ml.records import tables
from ml.records.publications import Publication
from ml.records.versions import Version

if TYPE_CHECKING:
    import pandas as pd


def record_drift(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, drift: "pd.DataFrame"
) -> None:
    """Write what `drift.measure` found of a publication, inside the caller's transaction."""
    same = {"exposure": exposure.name, "publication_id": publication.publication_id}
    tables.append(con, "ml.drift", drift, same, moment="measured_at")


def record_live_errors(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    live_errors: Sequence[Mapping[str, Any]],
) -> None:
    """Write what `live_error.measure` found of a publication, a mapping a row, inside the caller's transaction."""
    same = {"exposure": exposure.name, "publication_id": publication.publication_id}
    for live_error in live_errors:
        tables.insert(con, "ml.live_errors", {**same, **live_error}, moment="measured_at")


def record_explanation(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    version: Version,
    importance: "pd.DataFrame",
    dependence: "pd.DataFrame",
) -> None:
    """Write a version's explanation, inside the caller's transaction."""
    same = {"exposure": exposure.name, "version_id": version.version_id}
    tables.append(con, "ml.feature_importance", importance, same, moment="measured_at")
    tables.append(con, "ml.partial_dependence", dependence, same, moment="measured_at")


def record_trials(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    trials: "pd.DataFrame",
) -> None:
    """Write what a search tried, a row a trial, inside the caller's transaction: all of them at one moment."""
    same = {"exposure": exposure.name, "publication_id": publication.publication_id}
    tables.append(con, "ml.trials", trials, same, moment="searched_at")


def record_card(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, source_hash: str, uri: str, sha256: str
) -> None:
    """Write that a card stands, inside the caller's transaction."""
    card = {
        "exposure": exposure.name,
        "version_id": version.version_id,
        "source_hash": source_hash,
        "uri": uri,
        "sha256": sha256,
    }
    tables.insert(con, "ml.model_cards", card, moment="written_at")


def last_card(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> tuple[str, str, str] | None:
    """What a version's card was made from, where it stands, and its sha256; None before there is one."""
    row = con.execute(
        """
        select source_hash, uri, sha256 from lake.ml.model_cards
        where exposure = ? and version_id = ?
        order by written_at desc
        limit 1
        """,
        [exposure_name, version_id],
    ).fetchone()
    return (row[0], row[1], row[2]) if row else None


def cards_due(con: duckdb.DuckDBPyConnection, exposure_name: str) -> list[tuple[str, bool]]:
    """The versions whose cards must be true, the newest first, and whether each must be explained before.

    They are the newest version, the champion, and the champion before it if it is explained.
    """
    return [
        (version_id, unexplained)
        for version_id, unexplained in con.execute(
            """
            with versions as (
                select version_id, trained_at, row_number() over (order by trained_at desc) as age
                from lake.ml.model_versions
                where exposure = $exposure
            ),

            served as (
                select version_id, row_number() over (order by max(promotion) desc) as age
                from lake.ml.promotions
                where exposure = $exposure
                group by version_id
            )

            select
                versions.version_id,
                versions.version_id not in (
                    select version_id from lake.ml.feature_importance where exposure = $exposure
                ) as unexplained
            from versions
            left join served using (version_id)
            where versions.age = 1 or served.age = 1 or (served.age = 2 and not unexplained)
            order by versions.age
            """,
            {"exposure": exposure_name},
        ).fetchall()
    ]


def promotions(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> tuple[dict[str, Any], ...]:
    """A version's promotions in order: number, by whom, why, from when, until when another followed."""
    found = tables.rows(
        con,
        """
        with changes as (
            select *, lead(promoted_at) over (order by promotion) as followed_at
            from lake.ml.promotions
            where exposure = $exposure
        )
        select promotion, promoted_by, reason, promoted_at, followed_at
        from changes
        where version_id = $version
        order by promotion
        """,
        {"exposure": exposure_name, "version": version_id},
    )
    return tuple(found)


def drift(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str, publication_id: str) -> "pd.DataFrame":
    """The drift of a publication, and of later ones against the version that learned from it; newest last."""
    return con.execute(
        """
        select * exclude (exposure) replace (measured_at at time zone 'UTC' as measured_at) from lake.ml.drift
        where exposure = ? and (version_id = ? or publication_id = ?)
        order by measured_at, column_name
        """,
        [exposure_name, version_id, publication_id],
    ).df()


def importance(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> "pd.DataFrame":
    """A version's rows of ml.feature_importance, the most important first; empty before it is explained."""
    return con.execute(
        """
        select feature, importance_mean, importance_sd, repeats, split, heldout_rows
        from lake.ml.feature_importance
        where exposure = ? and version_id = ?
        order by importance_mean desc, feature
        """,
        [exposure_name, version_id],
    ).df()


def dependence(con: duckdb.DuckDBPyConnection, exposure_name: str, version_id: str) -> "pd.DataFrame":
    """A version's rows of ml.partial_dependence, by feature and grid point; empty before it is explained.

    Of numbers, class is NULL.
    """
    return con.execute(
        """
        select feature, grid_point, feature_value, mean_prediction, averaged_rows, class
        from lake.ml.partial_dependence
        where exposure = ? and version_id = ?
        order by feature, grid_point, class
        """,
        [exposure_name, version_id],
    ).df()
