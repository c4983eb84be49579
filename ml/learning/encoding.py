"""What an estimator learns from in the place of raw columns: scikit-learn's encoders before it, in one pipeline.

All of it is learned within each fit, from the rows of that fit, and saved with the estimator.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from ml.arrays import Integers, Mask, Vector
from ml.columns import LEVELS, Kind
from ml.linear.encoder import reading

# Levels of a column that get a column each; of more, the mean of the target stands for each level.
MOST_COLUMNS = 50
# A level of fewer rows shares its column with the others of so few.
LEAST_ROWS = 5
# The mean that stands for a row's level is learned from the rows of the other folds.
MEAN_FOLDS = 5
# Of values in fewer blocks than these, unless those are all blocks, chance may hold out all at once.
LEAST_BLOCKS = 20
STEP = "raw_columns"
Boosting: TypeAlias = HistGradientBoostingRegressor | HistGradientBoostingClassifier


@dataclass(frozen=True)
class Encoding:
    """The columns that are encoded.

    Attributes:
        kinds: Of each feature.
        levels: How many levels each feature that is a text or a code has.
        scarce: The features with so few values that a training set may have none: boosting's bins need one.
        seed: Of the folds in which the means of the target are learned.
    """

    kinds: Mapping[str, Kind]
    levels: Mapping[str, int]
    scarce: Collection[str]
    seed: int

    @classmethod
    def of(
        cls,
        features: pd.DataFrame,
        kinds: Mapping[str, Kind],
        blocks: Integers,
        seed: int,
        fits: Sequence[Mask] = (),
    ) -> "Encoding":
        """The encoding of features of shape (rows, features).

        Args:
            blocks: Of each row, shape (rows,): rows of one block are held out together.
            fits: Training sets that are known, shape (rows,) each.
        """
        levels = {name: int(features[name].nunique()) for name, kind in kinds.items() if kind in LEVELS}
        enough = min(LEAST_BLOCKS, len(np.unique(blocks)))
        scarce = [
            str(name)
            for name, missing in features.isna().items()
            if missing.any() and (len(np.unique(blocks[~missing])) < enough or any(missing[fit].all() for fit in fits))
        ]
        return cls(kinds, levels, scarce, seed)

    def before(self, name: str, estimator: Any) -> Pipeline:
        """The unfitted pipeline of encoders and an unfitted estimator, whose own steps follow if it is a pipeline.

        Raises:
            ValueError: Boosting's parameters name columns by their positions, which encoders change.
        """
        boosting = isinstance(estimator, Boosting)
        most = min(int(estimator.max_bins), 255) - 1 if boosting else MOST_COLUMNS
        few = [column for column, count in self.levels.items() if count <= most]
        takes_nan = bool(estimator.__sklearn_tags__().input_tags.allow_nan)
        parts: list[tuple[str, Pipeline, list[str]]] = []
        for kind in dict.fromkeys(self.kinds.values()):
            columns = [column for column in self.kinds if self.kinds[column] == kind]
            if kind not in LEVELS:
                as_nan = [column for column in columns if takes_nan and column not in self.scarce]
                if as_nan:
                    parts.append((kind, make_pipeline(*reading(kind)), as_nan))
                if some := [column for column in columns if column not in as_nan]:
                    parts.append((f"{kind}, NULL filled", make_pipeline(*reading(kind), _filled()), some))
                continue
            for known, encoder in (
                (True, _numbered() if boosting else _columns()),
                (False, self._means(is_classifier(estimator))),
            ):
                if some := [column for column in columns if (column in few) == known]:
                    what = kind if known else f"{kind}, of many levels"
                    parts.append((what, make_pipeline(*reading(kind), encoder), some))
        if boosting:
            estimator = _told(estimator, few)
        made = ColumnTransformer(parts, verbose_feature_names_out=False).set_output(transform="pandas")
        steps = estimator.steps if isinstance(estimator, Pipeline) else [(name, estimator)]
        return Pipeline([(STEP, made), *steps])

    def _means(self, of_classes: bool) -> TargetEncoder:
        """Of classes, the share of each; which there are, each fit sees for itself."""
        dealt = KFold(MEAN_FOLDS, shuffle=True, random_state=self.seed)
        return TargetEncoder(target_type="auto" if of_classes else "continuous", cv=dealt)


def numbers(column: "pd.Series[Any]", kind: Kind) -> Vector:
    """A raw column that is no text as float64, shape (rows,): dates in days since 1970, NaN for NULL."""
    days = (column - pd.Timestamp(0)) / pd.Timedelta(days=1) if kind == "date" else column
    return np.asarray(days, np.float64)


def _told(boosting: Boosting, levels: Sequence[str]) -> Boosting:
    """Boosting that takes columns of levels as categories, beside those that its parameters name."""
    asked = boosting.categorical_features
    named = asked if asked is not None and not isinstance(asked, str) else []
    by_position = {
        "categorical_features": not all(isinstance(name, str) for name in named),
        "monotonic_cst": boosting.monotonic_cst is not None and not isinstance(boosting.monotonic_cst, Mapping),
        "interaction_cst": boosting.interaction_cst is not None and not isinstance(boosting.interaction_cst, str),
    }
    if wrong := [name for name, positions in by_position.items() if positions]:
        raise ValueError(
            f"{', '.join(wrong)} has positions of columns, which the encoders of texts, dates and NULL change: give "
            "names of columns, or leave it out"
        )
    return boosting.set_params(categorical_features=[*dict.fromkeys([*named, *levels])] or None)


def _filled() -> SimpleImputer:
    """Medians for NULL, and an indicator."""
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _numbered() -> OrdinalEncoder:
    """Numbers of levels, for trees that split sets of them; NULL, and levels never seen, are missing values to them."""
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)


def _columns() -> OneHotEncoder:
    """A column each level, whose name no other column has; levels never seen are as the rare ones."""
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=LEAST_ROWS,
        sparse_output=False,
        feature_name_combiner="{} = {!r}".format,
    )
