"""Surroundings: values by hand, and the same whatever the order and the batches; nothing unnamed is read."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.recipes import surroundings
from ml.recipes.surroundings import SurroundingsError

DEGREE_KM = 111.195  # of a great circle, at the mean radius
# On the equator; the last two at one place.
LINE = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "lat": [0.0, 0.0, 0.0, 0.0, 0.0],
        "lon": [0.0, 1.0, 3.0, 6.5, 6.5],
        "x": [1.0, 2.0, 4.0, 8.0, 16.0],
        "target": [np.nan, 1.0, 1.0, 1.0, 1.0],
    }
)


def around(rows: pd.DataFrame, counts: tuple[int, ...] = (1, 2), **said: Any) -> pd.DataFrame:
    with duckdb.connect() as con:
        given: dict[str, Any] = {"columns": {"x": "x", "half": "x / 2"}, "compared": ["x"], **said}
        read = surroundings.nearest(con.from_df(rows), "id", "lat", "lon", counts=counts, **given)
        found: pd.DataFrame = read.read_all().to_pandas()
        return found.set_index("id")


def scattered(rows: int = 500) -> pd.DataFrame:
    """Rows of which many are at the same place, and many equally far: to a tenth of a degree."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"k{i:03}" for i in random.permutation(rows)],
            "lat": 37 + random.integers(0, 15, rows) / 10,
            "lon": -120 + random.integers(0, 15, rows) / 10,
            "x": random.normal(size=rows),
        }
    )


def test_values_are_those_by_hand() -> None:
    found = around(LINE)
    assert found["x_near_1"].to_dict() == {"a": 2.0, "b": 1.0, "c": 2.0, "d": 16.0, "e": 8.0}
    assert found["x_near_2"].to_dict() == {"a": 3.0, "b": 2.5, "c": 1.5, "d": 10.0, "e": 6.0}
    assert found["half_near_2"].tolist() == (found["x_near_2"] / 2).tolist()
    assert found["x_spread_2"].to_dict() == {"a": 1.0, "b": 1.5, "c": 0.5, "d": 6.0, "e": 2.0}
    assert found["x_rank_2"].to_dict() == {"a": 0.0, "b": 0.5, "c": 1.0, "d": 0.5, "e": 1.0}
    degrees = {"a": 3, "b": 2, "c": 3, "d": 3.5, "e": 3.5}
    assert found["km_to_2"].to_dict() == pytest.approx({key: d * DEGREE_KM for key, d in degrees.items()}, rel=1e-6)
    assert found.loc["d", "km_to_1"] == 0


def test_a_degree_of_longitude_is_half_as_far_at_sixty_degrees_north() -> None:
    rows = pd.DataFrame(
        {"id": ["a", "b", "c"], "lat": [60.0, 60.0, 60.7], "lon": [0.0, 1.0, 0.0], "x": [0.0, 1.0, 2.0]}
    )
    found = around(rows, counts=(1,))
    assert found.loc["a", "x_near_1"] == 1  # one degree east is nearer than 0.7 degrees north
    assert found.loc["a", "km_to_1"] == pytest.approx(DEGREE_KM / 2, rel=1e-4)


def test_the_mean_is_numpys_over_the_nearest_by_haversine() -> None:
    rows = scattered().assign(lat=lambda r: r.lat + np.random.default_rng(1).uniform(0, 0.1, len(r)))
    found = around(rows, counts=(7,)).loc[rows["id"]]
    north, east = np.radians(rows["lat"].to_numpy()), np.radians(rows["lon"].to_numpy())
    half = np.sin((north[:, None] - north) / 2) ** 2
    half += np.cos(north[:, None]) * np.cos(north) * np.sin((east[:, None] - east) / 2) ** 2
    km = 2 * 6371.0088 * np.arcsin(np.sqrt(half))
    np.fill_diagonal(km, np.inf)
    near = np.argsort(km, axis=1)[:, :7]
    assert found["x_near_7"].to_numpy() == pytest.approx(rows["x"].to_numpy()[near].mean(axis=1), rel=1e-12)
    assert found["x_spread_7"].to_numpy() == pytest.approx(rows["x"].to_numpy()[near].std(axis=1), rel=1e-12)
    assert found["km_to_7"].to_numpy() == pytest.approx(np.sort(km, axis=1)[:, 6], rel=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_rows_changes_no_bit(seed: int) -> None:
    rows = scattered()
    shuffled = rows.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(around(shuffled, (3, 40)), around(rows, (3, 40)), check_exact=True)


@pytest.mark.parametrize("batch", [1, 7, 499])
def test_batches_change_no_bit(batch: int) -> None:
    rows = scattered()
    pd.testing.assert_frame_equal(around(rows, (3, 40), batch=batch), around(rows, (3, 40)), check_exact=True)


def test_no_column_is_read_but_those_named() -> None:
    with_target, without = around(LINE), around(LINE.drop(columns="target"))
    pd.testing.assert_frame_equal(with_target, without, check_exact=True)
    assert not [name for name in with_target if "target" in str(name)]


def test_of_a_row_without_others_at_its_place_its_own_value_is_not_read() -> None:
    rows = LINE.assign(x=[999.0, 2.0, 4.0, 8.0, 16.0])
    assert around(rows).loc[["a"], ["x_near_1", "x_near_2"]].to_numpy().ravel().tolist() == [2, 3]


def test_a_smaller_table_counts_all_other_rows() -> None:
    found = around(LINE, counts=(50,))
    assert found["x_near_50"].to_dict() == {"a": 7.5, "b": 7.25, "c": 6.75, "d": 5.75, "e": 3.75}


def test_many_at_one_place_leave_the_row_itself_out() -> None:
    rows = pd.DataFrame({"id": [f"k{i:02}" for i in range(40)], "lat": 1.0, "lon": 1.0, "x": 0.0})
    rows.loc[5, "x"] = 1.0
    found = around(rows, counts=(39,))["x_near_39"]
    assert found["k05"] == 0
    assert set(found.drop("k05")) == {1 / 39}


def test_no_rows_give_no_rows() -> None:
    assert around(LINE.head(0)).empty


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (LINE.head(1), "The table has a single row, which has no neighbours"),
        (LINE.assign(x=[1, 2, np.nan, np.inf, 5]), "Column x is missing or not finite in 2 of 5 rows"),
        (LINE.assign(lat=[1, 2, np.nan, 3, 5]), "Column lat is missing or not finite in 1 of 5 rows"),
    ],
)
def test_what_cannot_be_placed_is_a_clear_error(rows: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(SurroundingsError, match=sentence):
        around(rows)
