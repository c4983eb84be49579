"""What the lake holds of one version, as frames, for the model card, the pictures and any other report."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import pandas as pd

from ml import classes
from ml.exposures import Exposure
from ml.metrics import METRICS, Metric
from ml.records import champions, consumptions, findings, publications, versions
from ml.records.versions import Version


@dataclass(frozen=True)
class Facts:
    """One version of an exposure.

    Attributes:
        version: Its row of ml.model_versions, `spec` and `parameters` as mappings.
        publication: The row of ops.publications that it learned from.
        consumption: The row of ops.consumptions that made it, whose reason is the gate's; None if a search found it.
        promotions: Of this version, in order: by whom, why, from when, until when.
        metrics: Of all candidates that were judged for it.
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
    def made(self) -> Version:
        """The version, as far as it is needed to serve."""
        return versions.from_row(self.version)

    @property
    def candidate(self) -> str:
        """Its recipe's name."""
        return str(self.version["candidate"])

    @property
    def target(self) -> str:
        """The column that it predicts."""
        return str(self.version["spec"]["target"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it tells apart, rising, as text; none of numbers."""
        made = self.made.classification
        return tuple(classes.text_of(one) for one in made["classes"]) if made else ()

    @property
    def positive(self) -> str | None:
        """Of two classes, the one whose probability is given, as text; None of more, and of numbers."""
        made = self.made.classification
        return None if not made or made["positive"] is None else classes.text_of(made["positive"])

    @property
    def metric(self) -> Metric:
        """What the gate judged it by."""
        asked: Metric | None = self.version["spec"].get("metric")  # versions of earlier releases know of none
        return asked or METRICS["classification" if self.classes else "regression"][0]

    @property
    def split(self) -> str:
        """The split that the gate judged it by."""
        return str(self.version["spec"]["split"])

    @property
    def coverage(self) -> float:
        """The share of rows whose value its intervals hold, or whose class its sets."""
        return float(self.version["spec"]["coverage"])

    @property
    def last_drift(self) -> pd.DataFrame:
        """Of the newest publication that was compared with its own, or else of its own; empty where there is none."""
        ours = self.drift[self.drift["version_id"] == self.version_id]
        rows = self.drift if ours.empty else ours
        newest: pd.DataFrame = rows[rows["measured_at"] == rows["measured_at"].max()]
        return newest

    def digest(self) -> str:
        """sha256 of all facts, and of the exposure's words and settings today."""
        exposure = self.exposure
        content = [
            exposure.owner,
            exposure.owner_email,
            exposure.description,
            exposure.relation_description,
            dict(exposure.column_descriptions),
            exposure.spec.model_dump(include={"map_columns", "unit", "limitations"}),
            self.version,
            self.publication,
            self.consumption,
            self.promotions,
            *(frame.to_csv(index=False) for frame in (self.metrics, self.drift, self.importance, self.dependence)),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read(con: duckdb.DuckDBPyConnection, exposure: Exposure, version_id: str) -> Facts:
    """The facts of a registered version."""
    version = versions.row(con, exposure.name, version_id)
    publication_id = version["publication_id"]
    publication = publications.publication(con, publication_id)
    assert publication is not None, f"{version_id} learned from no publication"
    consumption = consumptions.of(con, exposure.name, publication_id)
    return Facts(
        exposure=exposure,
        version=version,
        publication=asdict(publication),
        consumption=consumption if consumption and consumption["version_id"] == version_id else None,
        promotions=findings.promotions(con, exposure.name, version_id),
        metrics=versions.metrics(con, exposure.name, version_id),
        drift=findings.drift(con, exposure.name, version_id, publication_id),
        importance=findings.importance(con, exposure.name, version_id),
        dependence=findings.dependence(con, exposure.name, version_id),
    )


def champion_before(con: duckdb.DuckDBPyConnection, facts: Facts) -> Facts | None:
    """The facts of the champion that served when the version was made; None where none did."""
    champion = champions.champion(con, facts.exposure.name, before=facts.version["trained_at"])
    return read(con, facts.exposure, champion.version_id) if champion else None


def heldout(con: duckdb.DuckDBPyConnection, facts: Facts) -> pd.DataFrame:
    """Held-out predictions of the version's split, and the map's columns where the exposure names some.

    Returns:
        A row per key: actual, predicted, lower, upper (of classes: probabilities, prediction_set), and longitude and
        latitude under their own names. They are left out where the publication does not have them.
    """
    return versions.heldout(con, facts.exposure.name, facts.version, facts.exposure.spec.map_columns or ())
