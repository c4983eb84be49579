"""What materializations say in Dagster's UI."""

import base64
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from ml.reports.card import Card
from ml.reports.drawing import Picture
from ml.reports.facts import Facts
from orchestration.assets import metadata
from orchestration.assets.dbt import built_by
from tests.orchestration.assets.test_model import EXPOSURE

FEATURES = dg.AssetKey(["features", "points"])
NOTHING = pd.DataFrame()
PICTURES = (Picture("one", "The first", b"1"), Picture("two", "The second", b"22"))


def facts(version: str, candidate: str, rmse: dict[str, float], split: str = "random") -> Facts:
    """Of a version, with the RMSE of each candidate; in a slice and by the other split it is another."""
    rows = [
        (name, where, part, "rmse", value + (0 if (where, part) == (split, "all") else 1000))
        for name, value in rmse.items()
        for where in ("random", "group")
        for part in ("all", "a: few")
    ]
    return Facts(
        exposure=EXPOSURE,
        version={
            "version_id": version,
            "candidate": candidate,
            "spec": {"split": split, "target": "y", "coverage": 0.9},
            "artifact_uri": f"s3://b/{version}.joblib",
            "artifact_sha256": "abc",
        },
        publication={"publication_id": "features.points@3"},
        consumption={},
        promotions=(),
        metrics=pd.DataFrame(rows, columns=["candidate", "split", "slice", "metric", "value"]),
        drift=NOTHING,
        importance=NOTHING,
        dependence=NOTHING,
    )


def table(value: dg.MetadataValue[Any]) -> list[dict[str, Any]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_metrics_stand_beside_the_champions_before_and_the_means() -> None:
    new = facts("new", "boosting", {"ridge": 61.0, "boosting": 50.0, "mean": 115.0}, split="group")
    assert table(metadata.metrics(new, None)) == [
        {"metric": "rmse", "this (boosting)": 50.0, "ridge": 61.0, "mean": 115.0}
    ]
    old = facts("old", "ridge", {"ridge": 60.0, "mean": 114.0}, split="group")
    (row,) = table(metadata.metrics(new, old))
    assert row["champion before"] == 60.0
    assert list(row)[-1] == "mean"


def test_the_cards_show_the_newest_version() -> None:
    made = (Card("new", "s3://b/new.html", "f00", PICTURES), Card("old", "s3://b/old.html", "ba2"))
    said = metadata.cards(EXPOSURE, made, facts("new", "ridge", {"ridge": 60.0, "mean": 114.0}), None, PICTURES)
    assert said["model card"] == dg.MetadataValue.path("s3://b/new.html")
    assert said["model card of old"] == dg.MetadataValue.path("s3://b/old.html")
    assert said["artifact"] == dg.MetadataValue.path("s3://b/new.joblib")
    assert said["written now"] == "new"
    first, second = said["pictures"].value.split("\n\n")
    assert first == f"![The first](data:image/svg+xml;base64,{base64.b64encode(b'1').decode()})"
    assert second.startswith("![The second]")
    standing = tuple(replace(card, pictures=()) for card in made)
    again = metadata.cards(EXPOSURE, standing, facts("new", "ridge", {"ridge": 60.0, "mean": 114.0}), None, PICTURES)
    assert again["written now"] == "none, they stood there"


def test_a_build_by_dagster_says_so_with_a_link_to_its_run() -> None:
    assert metadata.builder(built_by("abc")) == {
        "built by": "Dagster",
        "Dagster's run of the build": dg.MetadataValue.dagster_run("abc"),
    }
    assert metadata.builder("shell of Ann") == {"built by": "shell of Ann"}


def test_mlflow_is_linked_only_where_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = (Card("new", "s3://b/new.html", "f00", PICTURES),)
    new = facts("new", "ridge", {"ridge": 60.0, "mean": 114.0})
    assert "MLflow" not in metadata.cards(EXPOSURE, made, new, None, PICTURES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    linked = metadata.cards(EXPOSURE, made, new, None, PICTURES)["MLflow"]
    assert linked == dg.MetadataValue.asset(dg.AssetKey(["points", "mlflow"]))


def test_a_prediction_comes_from_every_feature() -> None:
    lineage = metadata.prediction_lineage(EXPOSURE, FEATURES).deps_by_column
    assert {name: [dep.column_name for dep in deps] for name, deps in lineage.items()} == {
        "id": ["id"],
        "prediction": ["a"],
        "lower": ["a"],
        "upper": ["a"],
    }
