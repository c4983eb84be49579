"""Memory that ran out, as a sentence: what there is to read, what it takes, and the settings that bound both."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from ml.errors import MemoryRanOutError
from ml.exposures import Exposure
from ml.lake import first_line
from ml.lake.away import SPILLED

# DuckDB computes a batch of products of each pair of columns before it sums them: 2,048 doubles a pair, in each thread.
PAIR_BYTES = 2_048 * 8
# Of a wide table the products are made beside it, of each cell: five folds by five.
CELLS = 25


@contextmanager
def enough(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Iterator[None]:
    """Say what the exposure's table takes where memory runs out inside.

    Raises:
        MemoryRanOutError: It did.
    """
    try:
        yield
    except Exception as error:
        if told := ran_out(error, con, exposure):
            raise MemoryRanOutError(f"Exposure {exposure.name}: {told}") from error
        raise


def ran_out(error: Exception, con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str | None:
    """What to say of an error if memory ran out, DuckDB's or Python's, here or in a worker; None of any other error."""
    columns, most = len(exposure.features) + 1, exposure.sample_rows
    rows = f"{most:,} rows (meta.ml.max_rows) of {columns} columns are {size(most * columns * 8)}"
    width = f"{exposure.relation} has {columns} columns to learn from"
    if isinstance(error, duckdb.OutOfMemoryException):
        if SPILLED in str(error):  # the disk's fault, of which `ml.lake.telling` tells
            return None
        from ml.linear.gathering import SQL_COLUMNS  # scipy takes a moment to import

        settings = "select current_setting('memory_limit'), current_setting('threads')"
        limit, threads = con.execute(settings).fetchall()[0]
        pairs = columns * (columns + 1) // 2
        sums = size(threads * pairs * PAIR_BYTES if columns <= SQL_COLUMNS else pairs * CELLS * 16)
        return (
            f"DuckDB ran out of memory, of which it may use {limit}. {width}: their sums take about {sums} with "
            f"TRACT_THREADS at {threads}, and {rows}. Raise TRACT_MEMORY_LIMIT above both together, lower "
            "TRACT_THREADS, or leave columns out."
        )
    if isinstance(error, MemoryError):
        found = f"Python ran out of memory ({first_line(error)})"
    elif type(error).__name__ == "TerminatedWorkerError":  # joblib's, whose import takes a second
        found = "a worker process was ended from outside, as a machine does that runs out of memory"
    else:
        return None
    return (
        f"{found}. {width}, and {rows}, held several times over on each core. Lower meta.ml.max_rows, leave columns "
        "out, or give the machine more memory."
    )


def give_back(con: duckdb.DuckDBPyConnection) -> None:
    """Let DuckDB forget the files that it has read, and give what it has freed back to the system: it does when its
    limit is set. Of a sort of 4 million rows of 13 doubles that is 0.9 GB of 1.1.
    """
    ((limit,),) = con.execute("select current_setting('memory_limit')").fetchall()
    for kept in ("false", "true"):
        con.execute(f"set enable_external_file_cache = {kept}")
    con.execute(f"set memory_limit = '{limit}'")


def size(number: float) -> str:
    """So many bytes, as `0.4 GB` or `37 MB`."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{max(number / 1e6, 1):.0f} MB"
