"""The nearest points of a tree, for points that may be in it themselves."""

import numpy as np
from scipy.spatial import cKDTree

from ml.recipes.arrays import Integers, Matrix


def nearest(tree: cKDTree, points: Matrix, k: int, start: int | None) -> tuple[Matrix, Integers]:
    """Distances and numbers of the `k` nearest points of a tree, nearest first, shape (rows, k); fewer if it has fewer.

    Args:
        start: Number of the first row in the tree, if the rows are points of the tree: each row is then left out of its
            own neighbours, whatever shares its place. None for rows that are not in it.
    """
    k = min(k, tree.n if start is None else tree.n - 1)
    distance, index = tree.query(points, np.arange(1, k + (2 if start is not None else 1)))
    if start is None:
        return distance, index
    own = index == np.arange(start, start + len(points))[:, None]
    own[~own.any(axis=1), -1] = True  # so many share its place that it is not among them: the last one goes
    return distance[~own].reshape(-1, k), index[~own].reshape(-1, k)
