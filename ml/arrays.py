"""A name for each kind of numpy array, for signatures; docstrings give the shapes. And weights, which may be none."""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]  # one axis
Matrix = npt.NDArray[np.float64]  # two, or more
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def taken(weights: Vector | None, rows: Mask | Integers) -> Vector | None:
    """The weights of some rows; None where each row counts once."""
    return None if weights is None else weights[rows]
