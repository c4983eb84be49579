"""What a person should know of rows that can be learned from, and perhaps are not what is meant."""

import numpy as np

from ml import answers, classes
from ml.learning import intervals
from ml.learning.encoding import MOST_COLUMNS
from ml.learning.training_set import TrainingSet

# A column with a level for every two rows, or for fewer, names rows.
NAMING = 0.5


def of_rows(training: TrainingSet) -> tuple[str, ...]:
    """A sentence for each thing to know; of likely classes and intervals, by the sample."""
    spec, values = training.exposure.spec, training.target.to_numpy(np.float64)
    codes = bool(np.all((values == np.trunc(values)) & (np.abs(values) <= classes.LARGEST_CODE)))
    distinct = len(np.unique(values)) if codes else None
    found = [
        answers.told(spec.target, training.unknown, training.whole.n + training.unknown),
        classes.told(spec.target, distinct, len(values)),
        _by_chance(training),
        intervals.too_few(int(training.judged(spec.split).sum()), spec.coverage),
        _constant(training),
        *_leaking(training),
        *_naming(training),
    ]
    return tuple(note for note in found if note)


def _by_chance(training: TrainingSet) -> str:
    """Of rows that have a time, and are judged among others of their own time."""
    spec = training.exposure.spec
    if spec.time is None or spec.split != "random":
        return ""
    return (
        f"the rows have a time, {spec.time}, and are held out by chance: each fit knows what came after, so the errors "
        "are those of filling in the past. Of what is to come, meta.ml.split: time tells"
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


def _leaking(training: TrainingSet) -> list[str]:
    """Of columns that nearly tell the target."""
    target = training.exposure.spec.target
    return [
        f"{name} alone tells {share:.1%} of {target}, the target, of rows not seen: is it known when there is "
        "something to predict? If not, name it in meta.ml.features.exclude"
        for name, share in training.likely_leaks.items()
    ]
