"""Every picture is as wide as it says, the same for the same numbers, and drawn without pyplot's memory."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from ml.records.overview import Learned
from ml.reports import drawing, pictures
from ml.reports.drawing import Picture


def heldout() -> pd.DataFrame:
    random = np.random.default_rng(0)
    actual = random.uniform(0, 500_000, 500)
    return pd.DataFrame(
        {
            "actual": actual,
            "predicted": actual + random.normal(0, 50_000, 500),
            "x": random.uniform(-124, -114, 500),
            "y": random.uniform(32, 42, 500),
        }
    )


def metrics() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"candidate": candidate, "split": split, "slice": name, "metric": metric, "value": value}
            for candidate in ("ours", "mean")
            for split in ("random", "group")
            for name in ("all", "size: small", "size: large")
            for metric, value in (("rmse", 60_000.0), ("coverage", 0.88), ("rows", 500.0))
        ]
    )


def importance() -> pd.DataFrame:
    return pd.DataFrame({"feature": ["a", "b_c"], "importance_mean": [9.0, -0.1], "importance_sd": [0.5, 0.1]})


def dependence() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature": ["a", "a", "b_c"],
            "grid_point": [0, 1, 0],
            "feature_value": [1.0, 2.0, 5.0],
            "mean_prediction": [10.0, 20.0, 15.0],
        }
    )


def drift() -> pd.DataFrame:
    return pd.DataFrame({"column_name": ["a", "prediction"], "psi": [0.0, 3.0], "ks": [0.0, 0.9]})


def learned(versions: int) -> list[Learned]:
    return [
        Learned(f"v{i}", "ours", f"features.points@{i}", datetime(2026, 1, 1, tzinfo=UTC), 9.0, 20.0, None, i % 2 == 0)
        for i in range(versions)
    ]


DRAWN: dict[str, Callable[[], Picture]] = {
    "errors_by_version": lambda: pictures.errors_by_version(
        [*learned(40), replace(learned(1)[0], mean=None, live=11.0)], "dollars"
    ),
    "predicted_against_actual": lambda: pictures.predicted_against_actual(heldout(), "value", "dollars"),
    "residual_map": lambda: pictures.residual_map(heldout(), "x", "y", "dollars"),
    "error_by_slice": lambda: pictures.error_by_slice(metrics(), "ours", "random", "dollars"),
    "coverage": lambda: pictures.coverage(metrics(), "ours", "random", 0.9),
    "importance": lambda: pictures.importance(importance()),
    "partial_dependence": lambda: pictures.partial_dependence(dependence(), "value"),
    "drift": lambda: pictures.drift(drift()),
}


def texts(picture: Picture) -> list[str]:
    """What is written in a picture, as text."""
    return [text.text or "" for text in ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_named_titled_as_wide_as_it_says_and_the_same_each_time(name: str) -> None:
    picture = DRAWN[name]()
    assert picture.name == name
    assert picture.title
    root = ElementTree.fromstring(picture.svg)
    assert root.get("width") == "504pt"
    assert 100 < float(root.get("height", "").removesuffix("pt")) < 700
    assert picture.title in texts(picture)
    assert DRAWN[name]() == picture


def test_perfect_predictions_and_a_single_value_can_be_drawn() -> None:
    rows = heldout().assign(actual=7.0, predicted=7.0)
    assert pictures.predicted_against_actual(rows, "value").svg
    assert pictures.residual_map(rows, "x", "y").svg


@pytest.mark.parametrize(
    ("value", "told"), [(1_234_567.0, "1,234,567"), (-0.25, "−0.25"), (0.1 + 0.2, "0.3"), (0.0, "0")]
)
def test_ticks_are_numbers_that_people_write(value: float, told: str) -> None:
    assert drawing.number(value) == told


def test_slices_begin_with_all_rows() -> None:
    assert list(pictures._by_slice(metrics(), "rmse").index) == ["all", "size: large", "size: small"]


@pytest.mark.slow
def test_pyplot_is_not_there() -> None:
    said = "import sys, ml.reports.pictures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("$25,000 to $49,999", "$25,000 to $49,999"),
        ("$50,000 #$", "$50,000 #$"),
        (r"\\frac{1", r"\\frac{1"),
        ("a_b^c", "a_b^c"),
        ("日本 %", "日本 %"),
        ("العربية", "العربية"),
        ("हिन्दी", "हिन्दी"),
        ("한국 👩‍👧 🏡", "한국 👩‍👧 🏡"),
        ("<script>&amp;'\"", "<script>&amp;'\""),
        ("bell \x07 and \x00", "bell   and  "),
    ],
)
def test_what_a_user_named_is_text_of_any_script_and_no_formula(name: str, written: str) -> None:
    parts = ("all", f"income: {name}")
    metrics = pd.DataFrame(
        [("ridge", "random", part, metric, 1.0) for part in parts for metric in ("rmse", "rows", "coverage")],
        columns=["candidate", "split", "slice", "metric", "value"],
    )
    assert f"income: {written}" in texts(pictures.error_by_slice(metrics, "ridge", "random", name))
    assert f"RMSE, {written}" in texts(pictures.error_by_slice(metrics, "ridge", "random", name))
    assert f"income: {written}" in texts(pictures.coverage(metrics, "ridge", "random", 0.9))
    curves = dependence().replace({"feature": {"a": name}})
    assert written.replace("_", " ") in texts(pictures.partial_dependence(curves, "value"))


def test_a_map_of_many_rows_stays_small() -> None:
    """Its cells are pixels, its text is text."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.uniform(0, 10, (20_000, 4)), columns=["actual", "predicted", "x", "y"])
    picture = pictures.residual_map(rows, "x", "y")
    assert len(picture.svg) < 300_000
    assert "x, degrees" in texts(picture)


def test_of_many_versions_some_are_named_and_live_errors_only_where_there_are_some() -> None:
    written = texts(pictures.errors_by_version(learned(40)))
    assert [text for text in written if text.isdigit()][:12] == [
        "0",
        "4",
        "7",
        "11",
        "14",
        "18",
        "21",
        "25",
        "28",
        "32",
        "35",
        "39",
    ]
    assert "live" not in written
    assert "live" in texts(DRAWN["errors_by_version"]())
