"""Which rows are held out together. Folds depend on keys and groups alone, never on the order of rows."""

import hashlib
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold

from ml.spec import Exposure

Folds = npt.NDArray[np.int32]


class FoldsError(Exception):
    """Rows cannot be split as the spec asks; the message says why."""


def folds(frame: pd.DataFrame, exposure: Exposure, split: str) -> Folds:
    """The fold of each row, shape (rows,), from 0 to `spec.folds` - 1.

    `random`: rows in the order of a seeded hash of their key, dealt out in turn. `group`: scikit-learn's
    `GroupKFold`, whole groups to the smallest fold, the largest first.

    Raises:
        FoldsError: There are fewer groups than folds.
    """
    spec = exposure.spec
    if split == "random":
        order = np.argsort([_seeded(key, spec.seed) for key in frame[spec.key]], kind="stable")
        found = np.empty(len(frame), dtype=np.int32)
        found[order] = np.arange(len(frame)) % spec.folds
        return found
    groups = frame[spec.group]
    if groups.nunique() < spec.folds:
        raise FoldsError(
            f"Exposure {exposure.name}: column {spec.group} has {groups.nunique()} groups; "
            f"{spec.folds} folds by group need at least as many. Lower meta.ml.folds or choose another group."
        )
    found = np.empty(len(frame), dtype=np.int32)
    for number, (_, held_out) in enumerate(GroupKFold(spec.folds).split(frame, groups=groups)):
        found[held_out] = number
    return found


def _seeded(key: Hashable, seed: int) -> bytes:
    return hashlib.md5(f"{seed}:{key}".encode(), usedforsecurity=False).digest()
