"""Who serves: ml.promotions, read as the view ml.champions, and what a challenger has to beat."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from ml import classes, occasions
from ml.columns import kind_of
from ml.exposures import Exposure
from ml.metrics import Task, loss
from ml.records import notices, publications, tables
from ml.records.publications import Publication
from ml.records.versions import Version, changed, metric, row, version
from ml.spec import CandidateSpec


@dataclass(frozen=True)
class Champion:
    """What a challenger has to beat.

    Attributes:
        recipe: As it was asked for when the version was trained.
        loss: Held-out, by the spec's split and metric, when it was trained.
    """

    recipe: CandidateSpec
    loss: float


@dataclass(frozen=True)
class Standing:
    """What stands for an exposure when a publication comes.

    Attributes:
        champion: The version that serves; None before the first promotion.
        outdated: Why it cannot predict what the spec asks for of these rows, to follow its name; None where it can.
        defender: The champion as the gate sees it; None where there is none that the spec's question can be put to.
    """

    champion: Version | None
    outdated: str | None
    defender: Champion | None


def standing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, before: datetime | None = None
) -> Standing:
    """What stands for an exposure when this publication comes: now, or just before some moment."""
    serving = champion(con, exposure.name, before)
    if serving is None:
        return Standing(None, None, None)
    if why := outdated(con, exposure, serving, publication):
        return Standing(serving, why, None)
    weighed_alike = row(con, exposure.name, serving.version_id)["spec"].get("weight") == exposure.spec.weight
    value = metric(con, exposure.name, serving, exposure.spec.split, exposure.metric) if weighed_alike else None
    # without one the spec asks by another split, metric or weight, by which it was not judged
    return Standing(serving, None, None if value is None else Champion(serving.recipe, loss(exposure.metric, value)))


def champion(con: duckdb.DuckDBPyConnection, exposure_name: str, before: datetime | None = None) -> Version | None:
    """The exposure's serving version, now or just before some moment; None before its first promotion.

    Also None in a lake in which nothing was built yet.
    """
    try:
        if before is None:
            found = con.execute(
                "select version_id from lake.ml.champions where exposure = ?", [exposure_name]
            ).fetchone()
        else:
            found = con.execute(
                "select max_by(version_id, promotion) from lake.ml.promotions where exposure = ? and promoted_at < ?",
                [exposure_name, before],
            ).fetchone()
    except duckdb.CatalogException as error:
        if "champions" not in str(error) and "promotions" not in str(error):
            raise
        return None
    return version(con, exposure_name, found[0]) if found and found[0] else None


def champion_before(con: duckdb.DuckDBPyConnection, exposure_name: str) -> str | None:
    """The last version that served and is not the champion; None where there was none."""
    found = con.execute(
        """
        select max_by(promotions.version_id, promotions.promotion)
        from lake.ml.promotions as promotions
        inner join lake.ml.champions as champions on promotions.exposure = champions.exposure
        where promotions.exposure = ? and promotions.version_id <> champions.version_id
        """,
        [exposure_name],
    ).fetchone()
    return str(found[0]) if found and found[0] else None


def with_champions(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The exposures that have a champion, by name."""
    return [found[0] for found in con.execute("select exposure from lake.ml.champions order by 1").fetchall()]


def newest_predicted(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, before: datetime | None = None
) -> Publication | None:
    """The publication under which the newest judged rows are predicted, or would be, now or just before some moment.

    None before the first.
    """
    if before is not None:
        found = con.execute(
            """
            select max_by(
                coalesce(consumptions.predicted_publication_id, consumptions.publication_id), publications.snapshot_id
            )
            from lake.ops.consumptions as consumptions
            inner join lake.ops.publications as publications using (publication_id)
            where
                consumptions.exposure = ?
                and consumptions.input_hash is not null
                and consumptions.consumed_at < ?
            """,
            [exposure.name, before],
        ).fetchone()
        return publications.publication(con, found[0]) if found and found[0] else None
    found = con.execute(
        "select predicted_publication_id from lake.ml.standing_predictions where exposure = ?", [exposure.name]
    ).fetchone()
    return publications.publication(con, found[0]) if found else None


def outdated(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, publication: Publication
) -> str | None:
    """Why a version cannot predict what the spec asks for of these rows, to follow its name; None where it can."""
    made_for = row(con, exposure.name, version.version_id)["spec"]
    if why := changed(exposure, made_for) or _other_task(exposure, version):
        return why
    types = {column[0]: column[1] for column in con.execute(f"describe from {publication.table}").fetchall()}
    if gone := [name for name in version.features if name not in types]:
        return f"learned from {', '.join(gone)}, which {publication.publication_id} has no more"
    kinds = version.kinds
    if other := [name for name, kind in kinds.items() if kind_of(types[name], kind == "code") != kind]:
        now = ", ".join(f"{name} is {types[name]}" for name in other)
        return f"learned from another kind of column than {publication.publication_id} has, where {now}"
    if version.plain and (missing := _missing(con, version, publication)):
        return f"learned from rows that have all values, and {publication.publication_id} has NULL in {missing}"
    return None


def _other_task(exposure: Exposure, version: Version) -> str | None:
    """Why a version predicts something else than the spec asks for, numbers or classes; None where it does not."""
    made = version.classification
    task: Task = "classification" if made else "regression"
    if task != exposure.task:
        return f"was made for {task}, and the spec asks for {exposure.task}"
    if not made:
        return None
    kind = exposure.columns[exposure.spec.target]
    if any(not classes.fits(one, kind) for one in made["classes"]):
        return f"learned classes of another type than {kind}, as {made['classes'][0]!r}"
    asked = exposure.spec.positive
    if asked is not None and made["positive"] != asked:
        return f"gives the probability of {made['positive']!r}, and the spec asks for {asked!r}"
    return None


def _missing(con: duckdb.DuckDBPyConnection, version: Version, publication: Publication) -> str:
    """The features that are NULL in some rows, as a list in words."""
    return ", ".join(name for name, count in publication.nulls(con, version.features).items() if count)


def promote(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, promoted_by: str, reason: str
) -> None:
    """Make a version the champion, and note it for who is told, inside the caller's transaction and under the
    exposure's lock.
    """
    ((number,),) = con.execute(
        "select coalesce(max(promotion), 0) + 1 from lake.ml.promotions where exposure = ?", [exposure.name]
    ).fetchall()
    promotion = {
        "exposure": exposure.name,
        "promotion": number,
        "version_id": version.version_id,
        "promoted_by": promoted_by,
        "reason": reason,
    }
    tables.insert(con, "ml.promotions", promotion, moment="promoted_at")
    text = occasions.promoted(exposure.name, number, version.version_id, promoted_by, reason)
    notices.note(con, exposure, "promoted", f"promotion {number}", text)
