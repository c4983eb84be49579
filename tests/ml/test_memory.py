"""Memory that runs out is told with the table's width, what it takes, and the settings; other errors pass."""

from dataclasses import replace

import duckdb
import psutil
import pytest

from ml import memory
from ml.errors import MemoryRanOutError
from ml.exposures import Exposure
from ml.linear.gathering import gather

WIDE = [f"x{number}" for number in range(149)]


def wide(exposure: Exposure) -> Exposure:
    return replace(exposure, columns={"id": "VARCHAR", **dict.fromkeys([*WIDE, "y"], "DOUBLE"), "cell": "VARCHAR"})


def test_what_duckdb_has_and_what_the_table_takes_are_told(exposure: Exposure) -> None:
    with (
        duckdb.connect(config={"threads": 1, "memory_limit": "100MB", "temp_directory": ""}) as con,
        pytest.raises(MemoryRanOutError) as error,
        memory.enough(con, wide(exposure)),
    ):
        con.execute("select count(distinct i) from range(100_000_000) as t(i)")
    assert str(error.value) == (
        "Exposure points: DuckDB ran out of memory, of which it may use 95.3 MiB. features.points has 150 columns to "
        "learn from: their sums take about 5 MB with TRACT_THREADS at 1, and 200,000 rows (meta.ml.max_rows) of 150 "
        "columns are 0.2 GB. Raise TRACT_MEMORY_LIMIT above both together, lower TRACT_THREADS, or leave columns out."
    )
    assert isinstance(error.value.__cause__, duckdb.OutOfMemoryException)


def test_what_is_told_to_be_enough_is(exposure: Exposure) -> None:
    with duckdb.connect(config={"threads": 1, "memory_limit": "100MB"}) as con:
        con.execute(
            f"create table t as select {', '.join(f'random() as {name}' for name in WIDE)}, 1 as y from range(9)"
        )
        with memory.enough(con, wide(exposure)):
            assert gather(con, "t", WIDE, "y")[0].n == 9


@pytest.mark.parametrize("error", [ValueError("odd"), duckdb.IOException("S3")])
def test_other_errors_pass(exposure: Exposure, error: Exception) -> None:
    with duckdb.connect() as con, pytest.raises(type(error)) as raised, memory.enough(con, exposure):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(("number", "said"), [(384_000_000, "0.4 GB"), (37_400_000, "37 MB"), (8, "1 MB")])
def test_sizes_are_said_in_the_unit_that_fits(number: float, said: str) -> None:
    assert memory.size(number) == said


def test_what_duckdb_has_freed_is_given_back() -> None:
    with duckdb.connect(config={"threads": 2, "memory_limit": "1GB"}) as con:
        values = ", ".join(f"hash(i + {number}) as h{number}" for number in range(5))
        for _ in con.execute(f"select {values} from range(4_000_000) as t(i) order by h0").to_arrow_reader(100_000):
            pass
        before = psutil.Process().memory_info().rss
        memory.give_back(con)
        assert before - psutil.Process().memory_info().rss > 100e6
        assert con.execute("select current_setting('memory_limit')").fetchall()[0][0].startswith("953.")
        assert con.execute("select current_setting('enable_external_file_cache')").fetchall() == [(True,)]
