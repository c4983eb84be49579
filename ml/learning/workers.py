"""Fits on all cores at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, cpu_count

from ml import backends

# With fewer rows, starting processes (3 s, most of it imports) costs more than it saves.
MIN_PROCESS_ROWS = 5_000

AtWork = Callable[[Iterable[Any]], Iterator[Any]]


def workers(rows: int) -> AtWork:
    """A fit a core; results come in the order of the tasks, each as soon as it and those before it are done.

    The workers are processes, since gradient boosting holds Python's lock between its steps: two threads took 54 s for
    five fits of 16,500 rows that cost 59 s of CPU, the work of one core. They are this machine's, or those that
    `TRACT_JOBLIB` names.

    Args:
        rows: Of each fit, about.

    Raises:
        WorkersError: `TRACT_JOBLIB` names nobody that is known; while results are read, that its workers fail.
    """
    if rows < MIN_PROCESS_ROWS:
        return threads(cpu_count())
    if backends.asked() != backends.LOKY:
        return backends.each
    at_work: AtWork = Parallel(n_jobs=cpu_count(), backend="loky", return_as="generator", pre_dispatch="n_jobs")
    return at_work


def threads(cores: int) -> AtWork:
    """The same on some cores of this process, for what lets go of Python's lock and shares what it reads."""
    at_work: AtWork = Parallel(n_jobs=cores, backend="threading", return_as="generator", pre_dispatch="n_jobs")
    return at_work
