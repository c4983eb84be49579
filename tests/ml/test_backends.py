"""Workers that a setting names: the same numbers in the same order, rows sent once, failures as sentences."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import duckdb
import pandas as pd
import pytest
from joblib import delayed

from ml import backends
from ml.backends import Workers, WorkersError
from ml.exposures import Exposure
from ml.learning import candidates, trials
from ml.learning.workers import MIN_PROCESS_ROWS
from ml.spec import CandidateSpec, SearchSpec
from tests.ml.rows import frame, silent, trained_on

BOOSTING = CandidateSpec(
    name="boosting",
    estimator="sklearn.ensemble.HistGradientBoostingRegressor",
    parameters={"max_iter": 5},
    search=SearchSpec(space={"max_iter": [5, 20], "max_leaf_nodes": [4, 31]}, trials=4),
)


class OddError(Exception):
    """A task's own."""


class Sums:
    """Whose method is a task."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows

    def plus(self, number: int) -> int:
        return number + int(self.rows["a"].sum())


def slower_first(number: int) -> int:
    time.sleep(0.05 * (4 - number))
    return number


def total(rows: pd.DataFrame, answers: "pd.Series[int]", number: int) -> int:
    return int(rows["a"].sum() + answers.sum()) + number


def odd(error: Exception) -> None:
    raise error


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Workers]]:
    monkeypatch.setenv(backends.BACKEND, "dask")
    monkeypatch.setenv(backends.ADDRESS, "tcp://here:1")
    started: list[Any] = []

    def start(executor: Any) -> Workers:
        started.append(executor)
        return Workers(partial(executor.submit, backends.call), lambda value: value, 2)

    yield start
    for executor in started:
        executor.shutdown()


def test_results_come_in_the_order_of_the_tasks(pool: Callable[[Any], Workers]) -> None:
    workers = pool(ThreadPoolExecutor(4))
    assert list(backends.done(workers, (delayed(slower_first)(number) for number in range(4)))) == [0, 1, 2, 3]


def test_rows_and_the_object_of_a_method_are_sent_once() -> None:
    shared: list[Any] = []
    executor: Any = ThreadPoolExecutor(2)

    def share(value: Any) -> Any:
        shared.append(value)
        return value

    rows, answers = pd.DataFrame({"a": [1, 2]}), pd.Series([10, 20])
    workers = Workers(partial(executor.submit, backends.call), share, 2)
    assert list(backends.done(workers, (delayed(total)(rows, answers, n) for n in range(5)))) == [33, 34, 35, 36, 37]
    assert [id(value) for value in shared] == [id(rows), id(answers)]
    sums = Sums(rows)
    assert list(backends.done(workers, (delayed(sums.plus)(n) for n in range(5)))) == [3, 4, 5, 6, 7]
    assert shared[2:] == [sums]
    executor.shutdown()


@pytest.mark.parametrize("error", [OddError("seven"), MemoryError("much"), WorkersError("A worker has another.")])
def test_what_a_task_raises_is_raised_as_it_is(error: Exception, pool: Callable[[Any], Workers]) -> None:
    with pytest.raises(type(error), match=f"^{error}$"):
        list(backends.done(pool(ThreadPoolExecutor(2)), [delayed(odd)(error)]))


def test_a_task_that_cannot_be_sent_is_no_task_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.BACKEND, "dask")
    monkeypatch.setenv(backends.ADDRESS, "tcp://here:1")

    def send(*args: Any) -> "Future[Any]":
        raise OSError("closed.\nmore")

    sentence = (
        r"^The workers of dask at tcp://here:1 \(TRACT_JOBLIB_ADDRESS\) did not do their work: closed\. They, and "
        r"dask's scheduler, need Tract .* Start them again, or leave TRACT_JOBLIB out and this machine's cores do the "
        r"work\.$"
    )
    with pytest.raises(WorkersError, match=sentence):
        list(backends.done(Workers(send, lambda value: value, 2), [delayed(abs)(-1)]))


@pytest.mark.slow
def test_a_worker_that_is_lost_is_said(pool: Callable[[Any], Workers]) -> None:
    with pytest.raises(WorkersError, match="did not do their work: A process in the process pool was terminated"):
        list(backends.done(pool(ProcessPoolExecutor(2)), (delayed(die)(number) for number in range(4))))


def test_a_worker_with_other_packages_does_nothing_and_says_both_versions() -> None:
    wanted = {**backends.computing(), "joblib": "0.1"}
    done, error = backends.call(wanted, odd, OddError())
    assert not done
    here = backends.computing()["joblib"]
    assert str(error).startswith(f"A worker has joblib {here}, and this process joblib 0.1. Install the same there")
    assert backends.call(backends.computing(), abs, -3) == (True, 3)
    assert {"Python", "scikit-learn", "numpy", "joblib", "Tract's code"} <= set(wanted)


def test_what_the_setting_may_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backends.asked() == "loky"
    monkeypatch.setenv(backends.BACKEND, "spark")
    sentence = r"^TRACT_JOBLIB is 'spark'\. It must be loky \(this machine's cores\), dask or ray\.$"
    with pytest.raises(WorkersError, match=sentence):
        list(backends.each([]))


@pytest.mark.parametrize(
    ("said", "install"), [("dask", r"pip install 'dask\[distributed\]'"), ("ray", "pip install 'ray'")]
)
def test_a_package_that_is_not_installed_is_named(said: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.BACKEND, said)
    for package in ("distributed", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WorkersError, match=rf"^TRACT_JOBLIB is {said}, which is not installed \(.*\)\. Run {install}"):
        list(backends.each([]))


def test_no_candidate_is_left_out_for_its_workers(exposure: Exposure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.BACKEND, "nobody")
    rows = frame(MIN_PROCESS_ROWS)
    candidate = candidates.build(BOOSTING, duckdb.connect(), trained_on(rows, exposure), silent)
    with pytest.raises(WorkersError, match="TRACT_JOBLIB is 'nobody'"):
        candidate.held_out("random")
    with pytest.raises(WorkersError, match="TRACT_JOBLIB is 'nobody'"):
        trials.search(BOOSTING, rows[["a", "b"]], trials.Question(rows["y"].to_numpy()), None, 0, silent)
