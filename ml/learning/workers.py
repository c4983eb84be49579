"""Fits on all cores at once."""

from joblib import Parallel, cpu_count

# Rows below which starting processes (3 s, most of it imports) costs more than it saves.
FEW = 5_000


def workers(rows: int) -> Parallel:
    """A fit a core, results in the order of what was asked, each as soon as it and those before it are there.

    Processes, since gradient boosting holds Python's lock between its steps: two threads took 54 s for five fits of
    16,500 rows that cost 59 s of CPU, the work of one core.

    Args:
        rows: Of each fit, about.
    """
    backend = "loky" if rows >= FEW else "threading"
    return Parallel(n_jobs=cpu_count(), backend=backend, return_as="generator", pre_dispatch="n_jobs")
