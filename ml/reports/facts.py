"""What the lake holds of one version, as frames: the model card, the pictures and any other report are made of it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from ml.lake.sql import quoted
from ml.records import versions as registry
from ml.spec import Exposure

METRICS = "candidate, split, slice, metric, value"
IMPORTANCE = "feature, importance_mean, importance_sd, repeats, split, heldout_rows"
DEPENDENCE = "feature, grid_point, feature_value, mean_prediction, averaged_rows"


@dataclass(frozen=True)
class Facts:
    """One version of an exposure.

    Attributes:
        version: Its row of ml.model_versions, `spec` and `parameters` as mappings.
        publication: The row of ops.publications that it learned from.
        consumption: The row of ops.consumptions that made it, whose reason is the gate's; None if a search found it.
        promotions: Of this version, in order: by whom, why, from when, until when another followed.
        metrics: Of all that were judged for it.
        drift: Of its own publication against the champion before it, and of later ones against it; newest last.
        importance, dependence: As in ml.feature_importance and ml.partial_dependence; empty before it is explained.
    """

    exposure: Exposure
    version: dict[str, Any]
    publication: dict[str, Any]
    consumption: dict[str, Any] | None
    promotions: tuple[dict[str, Any], ...]
    metrics: pd.DataFrame
    drift: pd.DataFrame
    importance: pd.DataFrame
    dependence: pd.DataFrame

    @property
    def version_id(self) -> str:
        """The version's name."""
        return str(self.version["version_id"])

    @property
    def candidate(self) -> str:
        """Its recipe's name."""
        return str(self.version["candidate"])

    @property
    def target(self) -> str:
        """The column that it predicts."""
        return str(self.version["spec"]["target"])

    @property
    def split(self) -> str:
        """The split that the gate judged it by."""
        return str(self.version["spec"]["split"])

    @property
    def level(self) -> float:
        """The share of rows that its intervals shall cover."""
        return float(self.version["spec"]["level"])

    @property
    def last_drift(self) -> pd.DataFrame:
        """Of the newest publication that was held against it, or else of its own; empty where there is none."""
        ours = self.drift[self.drift["version_id"] == self.version_id]
        rows = self.drift if ours.empty else ours
        newest: pd.DataFrame = rows[rows["measured_at"] == rows["measured_at"].max()]
        return newest

    def digest(self) -> str:
        """sha256 of all of it, and of what the exposure says today."""
        exposure = self.exposure
        said = [
            exposure.owner,
            exposure.owner_email,
            exposure.description,
            exposure.relation_description,
            dict(exposure.column_descriptions),
            exposure.spec.model_dump(include={"map", "unit", "limits"}),
            self.version,
            self.publication,
            self.consumption,
            self.promotions,
            *(frame.to_csv(index=False) for frame in (self.metrics, self.drift, self.importance, self.dependence)),
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def read(con: duckdb.DuckDBPyConnection, exposure: Exposure, version_id: str) -> Facts:
    """The facts of a registered version."""
    ours = {"exposure": exposure.name, "version": version_id}
    version = _row(con, "from lake.ml.model_versions where exposure = $exposure and version_id = $version", ours)
    version = {**version, **{name: json.loads(version[name]) for name in ("spec", "parameters")}}
    learned_from = {"publication": version["publication_id"]}
    made = {**ours, **learned_from}
    of_version = "where exposure = $exposure and version_id = $version"
    return Facts(
        exposure=exposure,
        version=version,
        publication=_row(con, "from lake.ops.publications where publication_id = $publication", learned_from),
        consumption=next(
            iter(_rows(con, f"from lake.ops.consumptions {of_version} and publication_id = $publication", made)), None
        ),
        promotions=_rows(
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
            ours,
        ),
        metrics=con.execute(f"select {METRICS} from lake.ml.model_metrics {of_version} order by all", ours).df(),
        drift=con.execute(
            """
            select * exclude (exposure) replace (measured_at at time zone 'UTC' as measured_at) from lake.ml.drift
            where exposure = $exposure and (version_id = $version or publication_id = $publication)
            order by measured_at, column_name
            """,
            made,
        ).df(),
        importance=con.execute(
            f"select {IMPORTANCE} from lake.ml.feature_importance {of_version} order by importance_mean desc, feature",
            ours,
        ).df(),
        dependence=con.execute(
            f"select {DEPENDENCE} from lake.ml.partial_dependence {of_version} order by feature, grid_point", ours
        ).df(),
    )


def champion_before(con: duckdb.DuckDBPyConnection, facts: Facts) -> Facts | None:
    """The facts of the champion that served when the version was made; None where none did."""
    champion = registry.champion(con, facts.exposure.name, before=facts.version["trained_at"])
    return read(con, facts.exposure, champion.version_id) if champion else None


def heldout(con: duckdb.DuckDBPyConnection, facts: Facts) -> pd.DataFrame:
    """Held-out predictions of the version's split, and the map's columns where the exposure names some.

    Returns:
        A row per key: actual, predicted, lower, upper, and longitude and latitude under their own names. They are
        left out where the publication does not have them.
    """
    spec, publication = facts.version["spec"], facts.publication
    key, predictions = spec["key"], spec["predictions"]
    schema, name = publication["relation"].split(".")
    table = f'lake."{schema}"."{name}" at (version => {publication["snapshot_id"]})'
    columns = {row[0] for row in con.execute(f"describe from {table}").fetchall()}
    wanted = facts.exposure.spec.map or ()
    mapped = "".join(f", places.{quoted(name)}" for name in wanted) if columns.issuperset(wanted) else ""
    return con.execute(
        f"""
        select heldout.actual, heldout.predicted, heldout.lower, heldout.upper{mapped}
        from lake.ml.{quoted(f"heldout_{predictions}")} as heldout
        join (from {table}) as places using ({quoted(key)})
        where heldout.exposure = $exposure and heldout.version_id = $version and heldout.split = $split
        order by heldout.{quoted(key)}
        """,
        {"exposure": facts.exposure.name, "version": facts.version_id, "split": facts.split},
    ).df()


def _row(con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> dict[str, Any]:
    (row,) = _rows(con, query, parameters)
    return row


def _rows(con: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    found = con.execute(query, parameters)
    names = [column[0] for column in found.description or []]
    return tuple(dict(zip(names, row, strict=True)) for row in found.fetchall())
