"""Fits on all cores: results in the order of the tasks, in processes only where that pays."""

import os

import pytest
from joblib import delayed

from ml.learning import workers
from ml.learning.workers import MIN_PROCESS_ROWS


def double(value: int) -> tuple[int, int]:
    return 2 * value, os.getpid()


@pytest.mark.parametrize(
    ("rows", "processes"),
    [(MIN_PROCESS_ROWS - 1, False), pytest.param(MIN_PROCESS_ROWS, True, marks=pytest.mark.slow)],
)
def test_results_come_in_order_and_few_rows_start_no_process(rows: int, processes: bool) -> None:
    made = list(workers.workers(rows)(delayed(double)(value) for value in range(5)))
    assert [value for value, _ in made] == [0, 2, 4, 6, 8]
    assert (os.getpid() not in {pid for _, pid in made}) == processes
