"""A name for each kind of numpy array, for signatures; docstrings give the shapes."""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]  # one axis
Matrix = npt.NDArray[np.float64]  # two, or more
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
