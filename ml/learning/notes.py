"""What a person should know of rows that can be learned from, and perhaps are not what is meant."""

import numpy as np
import pandas as pd

from ml import answers, classes
from ml.learning import intervals
from ml.learning.encoding import MOST_COLUMNS
from ml.learning.training_set import TrainingSet

# A column with a level for every two rows, or for fewer, names rows.
NAMING = 0.5
# Of rows, those in several folds that are worth a word (of white wines 27 % of rows repeat another: their RMSE is 0.65,
# and 0.70 where they are kept together), where so many rows have features of their own.
REPEATED, DISTINCT = 0.01, 0.5


def of_rows(training: TrainingSet) -> tuple[str, ...]:
    """A sentence for each thing to know; of likely classes and intervals, by the sample."""
    spec = training.exposure.spec
    found = [
        answers.told(spec.target, training.unknown, training.whole.n + training.unknown),
        _rare(training) if training.classes else _like_classes(training),
        _by_chance(training),
        _worth(training),
        intervals.too_few(int(training.judged(spec.split).sum()), spec.coverage, bool(training.classes)),
        _constant(training),
        _repeated(training),
        *_leaking(training),
        *_naming(training),
    ]
    return tuple(note for note in found if note)


def _like_classes(training: TrainingSet) -> str:
    """Of numbers that are perhaps classes."""
    values = training.target.to_numpy(np.float64)
    codes = bool(np.all((values == np.trunc(values)) & (np.abs(values) <= classes.LARGEST_CODE)))
    return classes.told(training.exposure.spec.target, len(np.unique(values)) if codes else None, len(values))


def _rare(training: TrainingSet) -> str:
    """Of classes with fewer rows than folds, which some fits have hardly seen, or not at all."""
    spec = training.exposure.spec
    counts = np.bincount(training.codes, minlength=len(training.classes))
    rare = [
        f"{one!r} ({count:,})" for one, count in zip(training.classes, counts, strict=True) if count < spec.judged_folds
    ]
    if not rare:
        return ""
    return (
        f"of {spec.target}, the target, some classes have fewer rows than there are folds "
        f"(meta.ml.{spec.folds_setting}: {spec.judged_folds}): {', '.join(rare)}; a fit that has seen none of a class "
        "cannot predict it"
    )


def _by_chance(training: TrainingSet) -> str:
    """Of rows that have a time, and are judged among others of their own time."""
    spec = training.exposure.spec
    if spec.time is None or spec.split != "random":
        return ""
    return (
        f"the rows have a time, {spec.time}, and are held out by chance: each fit knows what came after, so the errors "
        "are those of filling in the past. Of what is to come, meta.ml.split: time tells"
    )


def _worth(training: TrainingSet) -> str:
    """Of rows that count differently: how many of equal weight would tell as much (Kish, Survey Sampling, 1965)."""
    weights = training.weights
    if weights is None:
        return ""
    worth = weights.sum() ** 2 / np.square(weights).sum()
    return (
        f"rows count by {training.exposure.spec.weight}, their weight: {len(weights):,} of them tell as much as "
        f"{worth:,.0f} of equal weight"
    )


def _naming(training: TrainingSet) -> list[str]:
    """Of columns that look like identifiers."""
    levels, rows = training.encoding.levels if training.encoding else {}, len(training.sample)
    return [
        f"{name} has {count:,} levels in {rows:,} rows: if it identifies rows, name it in meta.ml.features.exclude"
        for name, count in levels.items()
        if count > NAMING * rows and rows > MOST_COLUMNS
    ]


def _constant(training: TrainingSet) -> str:
    whole = training.whole
    if whole.scatter[-1, -1] > 0:
        return ""
    return f"{training.exposure.spec.target}, the target, is {whole.mean[-1]:g} in every row: there is nothing to learn"


def _repeated(training: TrainingSet) -> str:
    """Of rows that stand in several folds: what is held out is known by heart."""
    split = training.exposure.spec.split
    if split == "time":  # what came before is known
        return ""
    features = pd.util.hash_pandas_object(training.features, index=False)
    if features.nunique() < DISTINCT * len(features):  # a few levels, which new rows have too
        return ""
    rows = pd.util.hash_pandas_object(training.target.reset_index(drop=True), index=False) ^ features.to_numpy()
    repeated = int((pd.Series(training.fold(split)).groupby(rows.to_numpy()).transform("nunique") > 1).sum())
    if repeated < REPEATED * len(rows):
        return ""
    return (
        f"{repeated:,} of {len(rows):,} rows are the same, but for their key, as a row of another fold: held out, they "
        "are known by heart, and errors are smaller than those of new rows. Build each row once, or name a column that "
        "such rows share in meta.ml.group, with meta.ml.split: group"
    )


def _leaking(training: TrainingSet) -> list[str]:
    """Of columns that nearly tell the target."""
    target = training.exposure.spec.target
    return [
        f"{name} alone tells {share:.1%} of {target}, the target, of rows not seen: is it known when there is "
        "something to predict? If not, name it in meta.ml.features.exclude"
        for name, share in training.likely_leaks.items()
    ]
