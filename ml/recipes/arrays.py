"""A name for each kind of numpy array, for signatures, as `ml.arrays` has them: recipes import nothing of `ml`."""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]  # one axis
Matrix = npt.NDArray[np.float64]  # two, or more
Integers = npt.NDArray[np.int64]
