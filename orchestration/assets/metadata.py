"""What the materializations of an exposure's assets say in Dagster's UI: numbers to plot, links, tables, pictures."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml.exposures import Exposure
from ml.spec import MEAN
from orchestration.assets import mlflow
from orchestration.assets.dbt import built_by
from orchestration.assets.translator import card_key, mlflow_key, monitoring_key, predictions_key

if TYPE_CHECKING:  # seconds of imports that the definitions need not wait for
    from ml.completion import Completion
    from ml.consumption import Consumption
    from ml.reports.card import Card
    from ml.reports.drawing import Picture
    from ml.reports.facts import Facts

Metadata = dict[str, Any]


def common(consumption: "Consumption", features: dg.AssetKey) -> Metadata:
    """What the materializations of model and predictions both say."""
    publication = consumption.publication
    return {
        "outcome": consumption.outcome,
        "reason": consumption.reason,
        "publication": publication.publication_id,
        "learned from": dg.MetadataValue.asset(features),
        "snapshot": publication.snapshot_id,
        "dbt invocation": publication.invocation_id,
        **builder(publication.built_by),
        "champion": consumption.champion_id or "none yet",
    }


def builder(name: str) -> Metadata:
    """Who built; where it was a run of this Dagster, a link to it too."""
    ours = built_by("")
    if not name.startswith(ours):
        return {"built by": name}
    return {"built by": "Dagster", "Dagster's run of the build": dg.MetadataValue.dagster_run(name.removeprefix(ours))}


def _mlflow(exposure: Exposure) -> Metadata:
    """A link to the runs in MLflow, where it is on."""
    return {"MLflow": dg.MetadataValue.asset(mlflow_key(exposure))} if mlflow.is_on() else {}


def model(consumption: "Consumption", exposure: Exposure, features: dg.AssetKey) -> Metadata:
    """Of the model: the version, its held-out metrics, the mean's beside them, and where its pictures are."""
    return {
        **common(consumption, features),
        "version": consumption.version_id or "none",
        **consumption.metrics,
        **{f"{name} of the mean": value for name, value in consumption.baseline.items()},
        **{f"seconds to {stage}": value for stage, value in consumption.seconds.items()},
        "errors by other folds, drift, live errors": dg.MetadataValue.asset(monitoring_key(exposure)),
        "pictures and model card": dg.MetadataValue.asset(card_key(exposure)),
        **_mlflow(exposure),
    }


def completion(made: "Completion") -> Metadata:
    """Of what was measured after the commit."""
    return {
        "publication": made.publication_id,
        "measured": made.reason,
        **{f"seconds to {stage}": value for stage, value in made.seconds.items()},
    }


def predictions(consumption: "Consumption", exposure: Exposure, features: dg.AssetKey) -> Metadata:
    """Of the predictions: how many rows, and which columns they were made from."""
    return {
        **common(consumption, features),
        "dagster/row_count": consumption.publication.row_count,
        "dagster/column_lineage": prediction_lineage(exposure, features),
    }


def made(exposure: Exposure) -> list[str]:
    """The columns of predictions that a model makes of its features."""
    kept = ("exposure", "publication_id", "version_id", "predicted_at")
    return [name for name in exposure.predicted_columns if name not in kept]


def prediction_lineage(exposure: Exposure, features: dg.AssetKey) -> dg.TableColumnLineage:
    """From a prediction to the columns that its model read: all features."""
    learned = [dg.TableColumnDep(features, name) for name in exposure.features]
    return dg.TableColumnLineage(
        {
            **{name: [dg.TableColumnDep(features, name)] for name in exposure.spec.key_columns},
            **dict.fromkeys(made(exposure), learned),
        }
    )


def cards(
    exposure: Exposure,
    made: "Sequence[Card]",
    facts: "Facts",
    before: "Facts | None",
    pictures: "Sequence[Picture]",
) -> Metadata:
    """Of the cards: the newest version in pictures and a table, and links from it.

    Args:
        made: The newest version's card first.
        facts: Of the newest version.
        before: Of the champion that it was judged against, where there was one.
        pictures: Of the newest version.
    """
    newest, *others = made
    version = facts.version
    return {
        "version": newest.version_id,
        "champion before": before.version_id if before else "none",
        "pictures": gallery(pictures),
        "metrics": metrics(facts, before),
        "model card": dg.MetadataValue.path(newest.uri),
        "sha256 of the card": newest.sha256,
        "artifact": dg.MetadataValue.path(version["artifact_uri"]),
        "sha256 of the artifact": version["artifact_sha256"],
        "publication": facts.publication["publication_id"],
        "predictions": dg.MetadataValue.asset(predictions_key(exposure)),
        **_mlflow(exposure),
        "written now": ", ".join(card.version_id for card in made if card.written) or "none, they stood there",
        **{f"model card of {card.version_id}": dg.MetadataValue.path(card.uri) for card in others},
    }


def gallery(pictures: "Sequence[Picture]") -> dg.MetadataValue:
    """All pictures below one another: a click opens them. 10 to 200 kB each, kept in Dagster's Postgres."""
    images = [
        f"![{picture.title}](data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()})"
        for picture in pictures
    ]
    return dg.MetadataValue.md("\n\n".join(images))


def metrics(facts: "Facts", before: "Facts | None") -> dg.MetadataValue:
    """Held-out metrics by the spec's split, to five digits: the version's; those of what was judged beside it on the
    same rows; the champion's before, measured on the rows that it learned from; the mean's.
    """
    columns = _metrics(facts)
    if before:
        columns["champion before"] = _metrics(before)[before.candidate]
    names = {
        f"this ({facts.candidate})": facts.candidate,
        **{name: name for name in columns if name not in (facts.candidate, MEAN)},
        MEAN: MEAN,
    }
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {"metric": metric, **{told: columns.get(name, {}).get(metric) for told, name in names.items()}}
            )
            for metric in columns[facts.candidate]
        ],
        dg.TableSchema([dg.TableColumn("metric", "string"), *(dg.TableColumn(told, "float") for told in names)]),
    )


def _metrics(facts: "Facts") -> dict[str, Mapping[str, float]]:
    """By candidate, over all rows of the split that the gate judges by."""
    ours = facts.metrics[(facts.metrics["split"] == facts.split) & (facts.metrics["slice"] == "all")]
    return {
        str(candidate): {
            metric: float(f"{value:.5g}") for metric, value in zip(rows["metric"], rows["value"], strict=True)
        }
        for candidate, rows in ours.groupby("candidate", sort=False)
    }
