"""The nearest points by hand: nearest first, and never a row itself."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from ml.recipes.nearest import nearest

POINTS = np.array([[0.0], [1.0], [3.0], [7.0]])
TREE = cKDTree(POINTS)


def test_new_points_have_all_points_of_the_tree_as_neighbours() -> None:
    distance, index = nearest(TREE, np.array([[2.9], [-1.0]]), 2, start=None)
    assert index.tolist() == [[2, 1], [0, 1]]
    assert distance == pytest.approx(np.array([[0.1, 1.9], [1.0, 2.0]]))


def test_points_of_the_tree_are_not_their_own_neighbours_in_any_batch() -> None:
    whole, index = nearest(TREE, POINTS, 2, start=0)
    assert index.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert whole.tolist() == [[1, 3], [1, 2], [2, 3], [4, 6]]
    distance, later = nearest(TREE, POINTS[2:], 2, start=2)
    assert (distance.tolist(), later.tolist()) == (whole[2:].tolist(), index[2:].tolist())


@pytest.mark.parametrize(("start", "count"), [(None, 4), (0, 3)])
def test_a_tree_of_fewer_points_gives_all_that_there_are(start: int | None, count: int) -> None:
    distance, index = nearest(TREE, POINTS, 9, start)
    assert distance.shape == index.shape == (4, count)


def test_points_that_share_a_place_are_neighbours_at_no_distance_and_none_is_its_own() -> None:
    same = np.zeros((6, 1))
    distance, index = nearest(cKDTree(same), same, 2, start=0)
    assert distance.tolist() == [[0.0, 0.0]] * 6
    assert all(row not in neighbours for row, neighbours in enumerate(index.tolist()))
