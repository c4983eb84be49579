"""Fits on all cores at once."""

from joblib import Parallel, cpu_count

# With fewer rows, starting processes (3 s, most of it imports) costs more than it saves.
MIN_PROCESS_ROWS = 5_000


def workers(rows: int) -> Parallel:
    """A fit a core; results come in the order of the tasks, each as soon as it and those before it are done.

    The workers are processes, since gradient boosting holds Python's lock between its steps: two threads took 54 s for
    five fits of 16,500 rows that cost 59 s of CPU, the work of one core.

    Args:
        rows: Of each fit, about.
    """
    backend = "loky" if rows >= MIN_PROCESS_ROWS else "threading"
    return Parallel(n_jobs=cpu_count(), backend=backend, return_as="generator", pre_dispatch="n_jobs")


def threads(cores: int) -> Parallel:
    """The same on some cores of this process, for what lets go of Python's lock and shares what it reads."""
    return Parallel(n_jobs=cores, backend="threading", return_as="generator", pre_dispatch="n_jobs")
