"""What a version relies on: importance of its features on held-out rows, and how its predictions follow each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import check_scoring
from threadpoolctl import threadpool_limits

from ml import classes, metrics
from ml.arrays import Integers, Mask, Vector
from ml.columns import TYPES, Kind
from ml.exposures import Exposure
from ml.learning import calibration, engines, fits, measures, training_set
from ml.learning.classification import Classification
from ml.learning.sampling import FOLD, WEIGHT
from ml.progress import Say
from ml.records import versions
from ml.records.versions import Version
from ml.spec import BacktestSpec, FeaturesSpec, Spec
from ml.weights import taken

# Settings that decide which rows are read, and how they are dealt to folds.
ROW_SETTINGS = ("key", "target", "group", "time", "weight", "split", "folds", "seed", "max_rows")
# The fold held out; of a split by time it is the last. One is enough to rank features, and costs one fit.
HELD_OUT_FOLD = 0
REPEATS = 5
# Bounds for estimators that predict slowly: for 11 features each of the two makes 110,000 predictions, in 20 s at 5,000
# a second.
IMPORTANCE_ROWS = 2_000
DEPENDENCE_ROWS = 500
GRID_POINTS = 20
# Of so many features each is measured. Of more, each is shuffled once in `FEW_ROWS` rows, and those that take most away
# are measured: of 2,000 features, shuffling all of them five times in 2,000 rows takes a quarter of an hour.
MEASURED, FEW_ROWS = 50, 200
DEPENDENCE_COLUMNS = ("feature", "grid_point", "feature_value", "mean_prediction", "averaged_rows", "class")
# Quantiles between which the grid lies: beyond them there are too few rows to average over.
GRID_ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Explanation:
    """Of one version.

    Attributes:
        importance: A row per feature: feature, importance_mean, importance_sd, repeats, split, heldout_rows.
        dependence: A row per measured feature that is a number, and grid point: feature, grid_point, feature_value,
            mean_prediction, averaged_rows, class. Of classes, the prediction is the probability of the class, as text:
            of the positive one of two, of each of more; of numbers there is no class.
    """

    importance: pd.DataFrame
    dependence: pd.DataFrame


def explain(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, say: Say) -> Explanation:
    """Explain a version from the publication that it learned from, on about `max_rows` of its rows.

    Raises:
        ArtifactError: The version's file is missing or was changed.
        RowsError: The published rows cannot be read any more.
    """
    asked = as_asked(con, exposure, version)
    publication, _ = versions.origin(con, exposure.name, version.version_id)
    estimator = versions.load(con, exposure.name, version)
    sample, periods = training_set.read_sample(con, asked, publication, say, engines.of(con, asked, publication))
    split = asked.spec.splits[-1]
    features, target = sample[list(version.features)], sample[asked.spec.target]
    made = Classification.from_json(version.classification) if version.classification else None
    folds = periods.folds[::-1] if periods else range(HELD_OUT_FOLD, asked.spec.folds)
    number = _fold(sample[FOLD[split]], target, folds) if made else folds[0]
    learned = training_set.learned(sample, split, number, periods)
    held = (sample[FOLD[split]] == number).to_numpy()
    answers = pd.Series(classes.array(made.classes)[target.to_numpy(np.int64)], target.index) if made else target
    with threadpool_limits(limits=1):  # as candidates are fitted: the numbers repeat, and threads do not wait in turns
        found = importance(
            calibration.inside(estimator),
            features,
            answers,
            held,
            asked.spec.seed,
            learned,
            scoring(asked.metric, made),
            sample[WEIGHT].to_numpy(np.float64) if asked.spec.weight else None,
        ).assign(split=split)
        measured = set(found["feature"][found["repeats"] == REPEATS])
        kinds = {name: kind for name, kind in version.kinds.items() if name in measured}
        return Explanation(found, dependence(estimator, features, asked.spec.seed, kinds, made))


def _fold(fold: "pd.Series[int]", codes: "pd.Series[int]", numbers: Sequence[int]) -> int:
    """The first fold whose rows are of several classes, which metrics of ranks need; else the first."""
    several = (number for number in numbers if codes[fold == number].nunique() > 1)
    return next(several, numbers[0])


def scoring(metric: str, made: Classification | None) -> Any:
    """What scikit-learn measures a fitted estimator by, more being better; as it can be given for `scoring`.

    Args:
        made: Of a version of classes: probabilities are calibrated as it has learned to.
    """
    if made is None:
        return {"rmse": "neg_root_mean_squared_error", "mae": "neg_mean_absolute_error"}[metric]
    places = {one: place for place, one in enumerate(made.classes)}

    def score(
        fitted: Any, features: pd.DataFrame, answers: "pd.Series[Any]", sample_weight: Vector | None = None
    ) -> float:
        probabilities = made.calibration.of(fits.probabilities(fitted, features, made.classes))
        codes = np.array([places[answer] for answer in answers], np.int64)
        measured = measures.of_classes(codes, probabilities, made.positive_place, sample_weight)
        # rows of one class have no order: nothing is gained or lost
        return -metrics.loss(metric, measured.get(metric, 0.0))

    return score


def as_asked(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version) -> Exposure:
    """The exposure with the version's columns, and with its settings that decide which rows are read."""
    asked = versions.row(con, exposure.name, version.version_id)["spec"]
    # no slice is read here, and a slice may read columns that are gone
    codes = tuple(name for name, kind in version.kinds.items() if kind == "code")
    # versions of earlier releases know of no time
    settings = {name: asked.get(name, Spec.model_fields[name].default) for name in ROW_SETTINGS}
    made = version.classification
    settings |= {"task": "classification" if made else "regression", "metric": asked.get("metric")}
    backtest = BacktestSpec.model_validate(asked.get("backtest", {}))
    features = FeaturesSpec(include=version.features, categorical=codes)
    spec = exposure.spec.model_copy(update={**settings, "backtest": backtest, "slices": {}, "features": features})
    columns = {**dict.fromkeys(spec.roles, "DOUBLE"), **{name: TYPES[kind] for name, kind in version.kinds.items()}}
    if made:
        columns[spec.target] = {bool: "BOOLEAN", str: "VARCHAR"}.get(type(made["classes"][0]), "BIGINT")
    return replace(exposure, spec=spec, columns=columns, predicted_by_others=frozenset())


def importance(
    estimator: Any,
    features: pd.DataFrame,
    target: "pd.Series[Any]",
    held: Mask,
    seed: int,
    learned: Mask | None = None,
    by: Any = "neg_root_mean_squared_error",
    weights: Vector | None = None,
) -> pd.DataFrame:
    """Permutation importance of each feature (Breiman, Random Forests, 2001) for rows that the refit has not seen.

    Args:
        estimator: A clone of it is fitted; it stays as it is.
        features: Shape (rows, features).
        target: Shape (rows,).
        held: Which rows are held out, shape (rows,); `IMPORTANCE_ROWS` of them are drawn if there are more.
        seed: Of what is drawn.
        learned: Which rows the refit learns from, shape (rows,); None of all that are not held out.
        by: What a shuffled feature takes away, as `scoring` gives it.
        weights: What each row counts, shape (rows,); None where each counts once.

    Returns:
        `Explanation.importance`, without the split; errors in the target's unit. Of more than `MEASURED` features, the
        others have one repeat, of `FEW_ROWS` rows.
    """
    known = ~held if learned is None else learned
    refitted = fits.fit(estimator, features[known], target[known], taken(weights, known))

    def shuffled(names: Sequence[str], most_rows: int, repeats: int) -> pd.DataFrame:
        rows = _drawn(np.flatnonzero(held), most_rows, seed)
        permuted = permutation_importance(
            refitted,
            features.iloc[rows][names],
            target.iloc[rows],
            scoring=_beside_others(check_scoring(refitted, by), features.iloc[rows], names),
            n_repeats=repeats,
            random_state=seed,
            sample_weight=taken(weights, rows),
        )
        return pd.DataFrame(
            {
                "feature": names,
                "importance_mean": permuted.importances_mean,
                "importance_sd": permuted.importances_std,
                "repeats": repeats,
                "heldout_rows": len(rows),
            }
        )

    names = list(map(str, features.columns))
    if len(names) <= MEASURED:
        return shuffled(names, IMPORTANCE_ROWS, REPEATS)
    first = shuffled(names, FEW_ROWS, 1).set_index("feature")
    most = first["importance_mean"].nlargest(MEASURED).index
    measured = shuffled([name for name in names if name in most], IMPORTANCE_ROWS, REPEATS).set_index("feature")
    return pd.concat([measured, first.drop(index=most)]).loc[names].reset_index()


def _beside_others(scorer: Any, features: pd.DataFrame, names: Sequence[str]) -> Any:
    """A scorer that is given some of the features, and asks another beside the others."""
    if len(names) == features.shape[1]:
        return scorer
    whole = features.copy()

    def score(fitted: Any, some: pd.DataFrame, answers: "pd.Series[Any]", **weights: Vector) -> float:
        whole[names] = some
        return float(scorer(fitted, whole, answers, **weights))

    return score


def dependence(
    estimator: Any,
    features: pd.DataFrame,
    seed: int,
    kinds: Mapping[str, Kind] | None = None,
    made: Classification | None = None,
) -> pd.DataFrame:
    """Partial dependence on each number (Friedman, Greedy function approximation, 2001), at quantiles of the rows.

    Args:
        estimator: Fitted.
        features: Shape (rows, features); `DEPENDENCE_ROWS` rows are drawn if there are more.
        kinds: Of the features whose curves are asked for; None where all are, and are numbers. Of levels and dates
            there is no curve.
        made: Of a version of classes.

    Returns:
        `Explanation.dependence`; predictions in the target's unit.
    """
    averaged = features.iloc[_drawn(np.arange(len(features)), DEPENDENCE_ROWS, seed)]
    curves = [pd.DataFrame(columns=DEPENDENCE_COLUMNS)]
    for name in features.columns:
        if (kinds is not None and kinds.get(name) != "number") or features[name].isna().all():
            continue
        grid: Vector = np.unique(np.asarray(features[name].quantile(np.linspace(*GRID_ENDS, GRID_POINTS)), np.float64))
        for one, means in _means(estimator, averaged, name, grid, made):
            curves.append(
                pd.DataFrame(
                    {
                        "feature": name,
                        "grid_point": np.arange(len(grid)),
                        "feature_value": grid,
                        "mean_prediction": means,
                        "averaged_rows": len(averaged),
                        "class": one,
                    }
                )
            )
    return pd.concat(curves[1:] or curves, ignore_index=True)


def _means(
    estimator: Any, averaged: pd.DataFrame, name: str, grid: Vector, made: Classification | None
) -> list[tuple[str | None, Vector]]:
    """The mean prediction where a feature is set to each value, shape (values,); of classes, by class."""
    method = "predict_proba" if made else "auto"
    curve = partial_dependence(
        estimator, averaged, [name], custom_values={name: grid}, method="brute", kind="average", response_method=method
    )["average"]
    if made is None:
        return [(None, curve[0])]
    if made.positive_place is not None:  # of two classes, scikit-learn gives the second's
        assert made.positive is not None
        return [(classes.text_of(made.positive), curve[0] if made.positive_place else 1 - curve[0])]
    return [(classes.text_of(one), means) for one, means in zip(made.classes, curve, strict=True)]


def _drawn(rows: Integers, count: int, seed: int) -> Integers:
    """At most `count` of the rows, in their order."""
    if len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
