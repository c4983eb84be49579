"""What a row's neighbours say of it: scikit-learn transformers over rows with a longitude and a latitude.

Two of them read the neighbours' targets. In training, each leaves the row's own target out: the next step learns from
neighbours only, as it will predict from neighbours only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.ensemble import VotingRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

from ml.recipes import averaged
from ml.recipes.arrays import Matrix, Vector
from ml.recipes.nearest import nearest

KM_PER_DEGREE = 111.195  # of a great circle on a sphere of 6,371 km
# Rows that are looked up at once: 50 neighbours of 20,000 rows are 16 MB.
BATCH = 20_000
ROTATIONS = (15.0, 30.0, 45.0, 60.0, 75.0)  # degrees; trees cut along axes only, and coasts and valleys do not run so
# Added to the variance of a row that is to have no weight.
EXCLUDING_VARIANCE = 1e12


class Located(TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """The base of transformers that know where rows are.

    Args:
        longitude, latitude: Names of the columns, in degrees.
    """

    def __init__(self, longitude: str = "longitude", latitude: str = "latitude") -> None:
        self.longitude = longitude
        self.latitude = latitude

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the parallel along which a degree of longitude is measured; `X` has shape (rows, features)."""
        self.parallel_ = float(X[self.latitude].mean())
        self._fit(X, None if y is None else np.asarray(y, np.float64))
        return self

    def transform(self, X: pd.DataFrame) -> Matrix:
        """The features of rows that may be new, shape (rows, made features)."""
        return self._made(X, own=False)

    def fit_transform(self, X: pd.DataFrame, y: object = None, **_: object) -> Matrix:
        """The features of the rows that are learned from, each without itself among its neighbours."""
        return self.fit(X, y)._made(X, own=True)

    def _fit(self, X: pd.DataFrame, y: Vector | None) -> None:
        """Learn more."""

    def _made(self, X: pd.DataFrame, own: bool) -> Matrix:
        batches = (slice(start, start + BATCH) for start in range(0, len(X), BATCH))
        return np.concatenate([self._batch(X.iloc[rows], rows.start if own else None) for rows in batches])

    @abstractmethod
    def _batch(self, X: pd.DataFrame, start: int | None) -> Matrix:
        """The features of a batch of rows.

        Args:
            start: Number of the first row among the rows learned from; None for new rows.
        """

    def _km(self, X: pd.DataFrame) -> Matrix:
        """Positions in km, shape (rows, 2): right to 1 % within some 500 km north and south of the parallel."""
        longitude, latitude = X[self.longitude].to_numpy(np.float64), X[self.latitude].to_numpy(np.float64)
        return KM_PER_DEGREE * np.column_stack([longitude * np.cos(np.radians(self.parallel_)), latitude])

    def _others(self, X: pd.DataFrame) -> list[str]:
        return [name for name in X.columns if name not in (self.longitude, self.latitude)]


class Places(Located):
    """Coordinates turned by some angles, in km, and distances to named places, in km.

    Args:
        places: Name to longitude and latitude; a place may be a line of several points, of which the nearest counts.
    """

    def __init__(
        self,
        longitude: str = "longitude",
        latitude: str = "latitude",
        places: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        super().__init__(longitude, latitude)
        self.places = places

    def _batch(self, X: pd.DataFrame, start: int | None) -> Matrix:
        km = self._km(X)
        turned = [km @ [np.cos(np.radians(angle)), np.sin(np.radians(angle))] for angle in ROTATIONS]
        distances = []
        for place in (self.places or {}).values():
            points = pd.DataFrame(np.reshape(np.asarray(place, np.float64), (-1, 2)), columns=["longitude", "latitude"])
            here = self._km(points.rename(columns={"longitude": self.longitude, "latitude": self.latitude}))
            distances.append(cKDTree(here).query(km)[0])
        return np.column_stack([*turned, *distances])


class NeighbourFeatures(Located):
    """Means of the other columns over the nearest rows, and how far the row's own are from them.

    Args:
        k: Numbers of neighbours.
    """

    def __init__(self, longitude: str = "longitude", latitude: str = "latitude", k: Sequence[int] = (20,)) -> None:
        super().__init__(longitude, latitude)
        self.k = k

    def _fit(self, X: pd.DataFrame, y: Vector | None) -> None:
        self.tree_ = cKDTree(self._km(X))
        self.values_ = X[self._others(X)].to_numpy(np.float64)

    def _batch(self, X: pd.DataFrame, start: int | None) -> Matrix:
        own = X[self._others(X)].to_numpy(np.float64)
        _, index = nearest(self.tree_, self._km(X), max(self.k), start)
        means = [self.values_[index[:, :k]].mean(axis=1) for k in self.k]
        return np.column_stack([*means, *(own - mean for mean in means)])


class NeighbourTargets(Located):
    """Of the nearest rows' targets: mean, median, standard deviation, and mean weighted by nearness.

    Args:
        k: Numbers of neighbours; the distance in km to the last of them is a feature too.
        softening: Added to each distance before its inverse is the weight, in km.
    """

    def __init__(
        self,
        longitude: str = "longitude",
        latitude: str = "latitude",
        k: Sequence[int] = (5, 20),
        softening: float = 0.5,
    ) -> None:
        super().__init__(longitude, latitude)
        self.k = k
        self.softening = softening

    def _fit(self, X: pd.DataFrame, y: Vector | None) -> None:
        assert y is not None, "neighbours' targets need a target"
        self.tree_, self.target_ = cKDTree(self._km(X)), y

    def _batch(self, X: pd.DataFrame, start: int | None) -> Matrix:
        distance, index = nearest(self.tree_, self._km(X), max(self.k), start)
        target, weight = self.target_[index], 1 / (distance + self.softening)
        columns: list[Vector] = []
        for k in self.k:
            near = target[:, :k]
            columns += [
                near.mean(axis=1),
                np.median(near, axis=1),
                near.std(axis=1),
                np.average(near, axis=1, weights=weight[:, :k]),
                distance[:, min(k, distance.shape[1]) - 1],
            ]
        return np.column_stack(columns)


class KrigedTarget(Located):
    """The target and its variance, by local ordinary kriging from the most similar rows and from the nearest.

    The covariance of two rows is the sum of two exponential ones. `1 - near_share` of it falls with the distance in
    standardized features and position together, `near_share` with the distance in position alone (Cressie, Statistics
    for Spatial Data, 1993, section 3.2; Chilès and Delfiner, Geostatistics, 2012, section 3.4). Features enter as their
    inverse hyperbolic sine, which is a logarithm that takes zero.

    Args:
        k: Rows of each kind: most similar, and nearest.
        reach: Standard deviations of a feature over which covariance falls to 1/e.
        km, near_km: The same of positions, for the two parts.
        near_share: The second part's share.
        nugget: Variance that no neighbour shares, in units of the covariance at distance zero.
    """

    def __init__(
        self,
        longitude: str = "longitude",
        latitude: str = "latitude",
        k: int = 16,
        reach: float = 4.0,
        km: float = 50.0,
        near_km: float = 5.0,
        near_share: float = 0.3,
        nugget: float = 0.05,
    ) -> None:
        super().__init__(longitude, latitude)
        self.k = k
        self.reach = reach
        self.km = km
        self.near_km = near_km
        self.near_share = near_share
        self.nugget = nugget

    def _fit(self, X: pd.DataFrame, y: Vector | None) -> None:
        assert y is not None, "kriging needs a target"
        deviation = np.arcsinh(X[self._others(X)].to_numpy(np.float64)).std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)
        self.target_ = y
        self.alike_, self.near_ = self._scaled(X)
        self.trees_ = cKDTree(self.alike_), cKDTree(self.near_)

    def _scaled(self, X: pd.DataFrame) -> tuple[Matrix, Matrix]:
        km = self._km(X)
        features = np.arcsinh(X[self._others(X)].to_numpy(np.float64)) / (self.scale_ * self.reach)
        return np.column_stack([features, km / self.km]), km / self.near_km

    def _batch(self, X: pd.DataFrame, start: int | None) -> Matrix:
        return np.concatenate(list(self._krige(*self._scaled(X), start)))

    def _krige(self, alike: Matrix, near: Matrix, start: int | None, rows: int = 1_000) -> Iterator[Matrix]:
        """Prediction and variance, a thousand rows at a time: the covariances of 32 neighbours of each are 8 MB."""
        for first in range(0, len(alike), rows):
            some = slice(first, first + rows)
            here = None if start is None else start + first
            index = np.column_stack(
                [nearest(tree, at[some], self.k, here)[1] for tree, at in zip(self.trees_, (alike, near), strict=True)]
            )
            index.sort(axis=1)
            twice = np.zeros(index.shape, np.bool_)  # both alike and near: counts once
            twice[:, 1:] = index[:, 1:] == index[:, :-1]
            among, away = zip(
                distances(self.alike_[index] - alike[some, None]),
                distances(self.near_[index] - near[some, None]),
                strict=True,
            )
            known, asked = self._covariance(*among), self._covariance(*away)
            diagonal = np.arange(index.shape[1])
            known[:, diagonal, diagonal] += self.nugget + np.where(twice, EXCLUDING_VARIANCE, 0.0)
            solved = np.linalg.solve(known, np.stack([asked, np.ones_like(asked)], axis=-1))
            simple, even = solved[..., 0], solved[..., 1]
            # ordinary kriging: the weights of simple kriging, moved so that they add up to one
            missing = (1 - simple.sum(axis=1)) / even.sum(axis=1)
            weight = simple + even * missing[:, None]
            mean = np.sum(weight * self.target_[index], axis=1)
            variance = 1 + self.nugget - np.sum(weight * asked, axis=1) + missing
            yield np.column_stack([mean, variance])

    def _covariance(self, alike: Matrix, near: Matrix) -> Matrix:
        # the distances are written over: fresh arrays of 8 MB take longer than what is computed in them
        parts = ((alike, 1 - self.near_share), (near, self.near_share))
        for part, share in parts:
            np.exp(np.negative(part, out=part), out=part)
            part *= share
        alike += near
        return alike


def distances(offsets: Matrix) -> tuple[Matrix, Matrix]:
    """Distances of points among each other, shape (rows, k, k), and from an origin, shape (rows, k).

    Args:
        offsets: The points less the origin, shape (rows, k, dimensions).
    """
    squared = np.einsum("rkd,rkd->rk", offsets, offsets)
    among = 2 * offsets @ offsets.transpose(0, 2, 1)
    np.subtract(squared[:, :, None] + squared[:, None], among, out=among)
    np.maximum(among, 0.0, out=among)
    return np.sqrt(among, out=among), np.sqrt(squared)


class Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts what one of its columns says.

    Args:
        column: Its position.
    """

    def __init__(self, column: int) -> None:
        self.column = column

    def fit(self, X: Matrix, y: object = None) -> Self:
        """Learn nothing but the number of columns; `X` has shape (rows, features)."""
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Matrix) -> Vector:
        """The column, shape (rows,)."""
        return X[:, self.column]


def gradient_boosting(
    places: Mapping[str, Sequence[Any]] | None = None,
    decimals: int | None = None,
    longitude: str = "longitude",
    latitude: str = "latitude",
    kriged_share: float = 0.25,
    times: int = 1,
    random_state: int = 0,
    **parameters: Any,
) -> Pipeline:
    """Gradient boosting on a table's columns and on all features of the neighbours, averaged with kriging.

    Boosting sees the kriged target too, and yet their mean is better than either: 0.3950 with a quarter of
    kriging, 0.3973 with none, on three folds of the training parts of two splits of this project's data.

    Args:
        places: See `Places`.
        decimals: Decimals of a degree that positions are rounded to. Finer digits than those of the rows learned from
            would only say on which side of a grid's line a row lies.
        kriged_share: Of kriging in the mean.
        times: How many seeds of boosting are averaged, from `random_state` on.
        parameters: Of scikit-learn's `HistGradientBoostingRegressor`.
    """
    at = longitude, latitude
    digits = {"decimals": {longitude: decimals, latitude: decimals} if decimals is not None else {}}
    neighbours = FeatureUnion(
        [
            ("own", "passthrough"),
            ("places", Places(*at, places)),
            ("features", NeighbourFeatures(*at)),
            ("targets", NeighbourTargets(*at)),
            ("kriged", KrigedTarget(*at)),
        ]
    )
    boosted = averaged.seeds(times, random_state, **parameters)
    return Pipeline(
        [
            ("known", FunctionTransformer(pd.DataFrame.round, kw_args=digits, feature_names_out="one-to-one")),
            ("neighbours", neighbours),
            (
                "mean",
                VotingRegressor(
                    [("boosted", boosted), ("kriged", Column(-2))], weights=[1 - kriged_share, kriged_share]
                ),
            ),
        ]
    )
