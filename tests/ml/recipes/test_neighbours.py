"""What neighbours say: by hand, by a dense solution, and never a row's own target."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from ml.recipes import neighbours
from ml.recipes.neighbours import KrigedTarget, Located, NeighbourFeatures, NeighbourTargets, Places


def blocks(rows: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows on a coarse grid, so that many share a place, with a target that depends on place and income."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "income": random.uniform(1, 10, rows),
            "age": random.integers(1, 50, rows).astype(float),
            "longitude": -120 + random.integers(0, 8, rows) / 100,
            "latitude": 36 + random.integers(0, 8, rows) / 100,
        }
    )
    return frame, 10 * frame["income"].to_numpy() + 100 * np.sin(frame["longitude"] * 50).to_numpy()


SEEING_TARGETS = [NeighbourTargets(k=(1, 5)), KrigedTarget(k=8), neighbours.gradient_boosting(max_iter=3)[:-1]]


@pytest.mark.parametrize("transformer", SEEING_TARGETS, ids=["targets", "kriged", "all"])
def test_no_row_is_told_its_own_target(transformer: Any) -> None:
    rows, target = blocks()
    told, read = clone(transformer).fit_transform(rows, target), 0
    for row in range(0, len(rows), 7):
        other = target.copy()
        other[row] += 1e6
        again = clone(transformer).fit_transform(rows, other)
        assert again[row].tolist() == told[row].tolist()
        read += bool((again != told).any())  # by its neighbours
    assert read > 12


def test_the_leak_test_finds_a_leak() -> None:
    rows, target = blocks()
    other = target.copy()
    other[7] += 1e6
    leaking = NeighbourTargets(k=(1, 5))
    first = leaking.fit(rows, target).transform(rows)[7]
    assert first.tolist() != leaking.fit(rows, other).transform(rows)[7].tolist()


def test_neighbours_targets_by_hand() -> None:
    rows = pd.DataFrame({"longitude": [0.0, 0.0, 0.0, 0.0], "latitude": [0.0, 0.0, 0.01, 0.03], "size": 1.0})
    target = np.array([10.0, 20.0, 40.0, 80.0])
    made = NeighbourTargets(k=(1, 3)).fit_transform(rows, target)
    km = 0.01 * neighbours.KM_PER_DEGREE
    # the first row's nearest is the second, which shares its place; then those 0.01 and 0.03 degrees away
    assert made[0, :5] == pytest.approx([20, 20, 0, 20, 0])
    weights = 1 / (np.array([0, km, 3 * km]) + 0.5)
    expected = [140 / 3, 40, np.std([20, 40, 80]), np.average([20, 40, 80], weights=weights), 3 * km]
    assert made[0, 5:] == pytest.approx(expected)


def test_fewer_rows_than_neighbours_give_all_of_them() -> None:
    rows, target = blocks(4)
    made = NeighbourTargets(k=(50,)).fit_transform(rows, target)
    assert made[2, 0] == pytest.approx(np.delete(target, 2).mean())


def test_so_many_at_one_place_that_a_row_is_not_among_its_own_neighbours() -> None:
    rows, target = blocks(30)
    rows = rows.assign(longitude=-120.0, latitude=36.0)
    made = NeighbourTargets(k=(3,)).fit_transform(rows, target)
    for row in range(30):
        other = target.copy()
        other[row] += 1e6
        assert NeighbourTargets(k=(3,)).fit_transform(rows, other)[row].tolist() == made[row].tolist()


def test_neighbours_features_by_hand() -> None:
    rows = pd.DataFrame({"longitude": 0.0, "latitude": [0.0, 0.01, 0.03], "size": [1.0, 3.0, 9.0]})
    made = NeighbourFeatures(k=(1, 2)).fit_transform(rows)
    assert made.tolist() == [[3, 6, -2, -5], [1, 5, 2, -2], [3, 2, 6, 7]]
    new = pd.DataFrame({"longitude": [0.0], "latitude": [0.011], "size": [5.0]})
    assert NeighbourFeatures(k=(1, 2)).fit(rows).transform(new).tolist() == [[3, 2, 2, 3]]


def test_places_are_as_far_as_they_are() -> None:
    rows = pd.DataFrame({"longitude": [-118.24, -117.16], "latitude": [34.05, 32.72]})
    line = [[-122.42, 37.77], [-117.2, 32.7]]
    made = Places(places={"San Francisco": [-122.42, 37.77], "either": line}).fit(rows).transform(rows)
    assert made[:, -2] == pytest.approx([559, 737], rel=0.02)  # km by great circle
    assert made[1, -1] == pytest.approx(4.3, rel=0.02)


def test_kriging_is_ordinary_kriging_solved_in_one_piece() -> None:
    rows, target = blocks(25)
    rows["longitude"] += np.arange(25) / 1000  # no two at one place
    new = rows.iloc[:5].assign(income=[2.0, 4.0, 6.0, 8.0, 10.0])
    kriged = KrigedTarget(k=25, nugget=0.1).fit(rows, target)
    both = pd.concat([rows, new])
    alike, near = kriged._scaled(both)

    def covariance(a: slice, b: slice) -> Any:
        far = [np.linalg.norm(at[a, None] - at[None, b], axis=-1) for at in (alike, near)]
        return 0.7 * np.exp(-far[0]) + 0.3 * np.exp(-far[1])

    known, asked = slice(0, 25), slice(25, 30)
    system = np.ones((26, 26))
    system[:25, :25] = covariance(known, known) + 0.1 * np.eye(25)
    system[25, 25] = 0
    right = np.vstack([covariance(known, asked), np.ones(5)])
    solved = np.linalg.solve(system, right)
    made = kriged.transform(new)
    assert made[:, 0] == pytest.approx(solved[:25].T @ target, rel=1e-8)
    assert made[:, 1] == pytest.approx(1.1 - (solved * right).sum(axis=0), rel=1e-8)


def test_kriging_without_a_nugget_goes_through_what_is_known_and_shifts_with_it() -> None:
    rows, target = blocks(60)
    rows["latitude"] += np.arange(60) / 1000
    exact = KrigedTarget(nugget=0.0).fit(rows, target)
    assert exact.transform(rows)[:, 0] == pytest.approx(target, abs=1e-6)
    assert exact.transform(rows)[:, 1] == pytest.approx(np.zeros(60), abs=1e-6)
    made = KrigedTarget().fit_transform(rows, target)
    assert KrigedTarget().fit_transform(rows, target + 500)[:, 0] == pytest.approx(made[:, 0] + 500, rel=1e-9)
    assert KrigedTarget().fit_transform(rows, 3 * target)[:, 0] == pytest.approx(3 * made[:, 0], rel=1e-9)


@pytest.mark.parametrize("transformer", [Places(), NeighbourFeatures(), NeighbourTargets(), KrigedTarget()])
def test_batches_change_nothing(transformer: Located, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, target = blocks()
    expected, new = transformer.fit_transform(rows, target), transformer.transform(rows)
    monkeypatch.setattr(neighbours, "BATCH", 17)
    np.testing.assert_allclose(transformer.fit_transform(rows, target), expected, rtol=1e-9)
    np.testing.assert_allclose(transformer.transform(rows), new, rtol=1e-9)


def test_the_recipe_predicts_new_rows_from_their_place_and_forgets_digits_that_nobody_gave() -> None:
    rows, target = blocks(600)
    with threadpool_limits(limits=1):  # with more, a small fit on a busy machine waits for its threads
        made = neighbours.gradient_boosting(decimals=2, max_iter=60, random_state=0).fit(rows, target)
    new, actual = blocks(200, seed=1)
    predicted = made.predict(new)
    assert np.sqrt(np.mean((predicted - actual) ** 2)) < 0.15 * actual.std()
    moved = new.assign(latitude=new["latitude"] + 10 / 111_195)
    assert made.predict(moved).tolist() == predicted.tolist()
    assert list(made.feature_names_in_) == list(rows.columns)
    assert isinstance(made[0], FunctionTransformer)
