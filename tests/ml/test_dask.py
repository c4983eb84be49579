"""Fits by a scheduler and workers of dask, where it is installed: the same bits as here, and no hang when one dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from joblib import Parallel, delayed

from ml import backends
from ml.arrays import Matrix
from ml.backends import WorkersError
from ml.exposures import Exposure
from ml.learning import candidates, trials
from ml.learning.workers import workers
from ml.spec import CandidateSpec, SearchSpec
from tests.conftest import ROOT
from tests.ml.rows import frame, silent, trained_on
from tests.warehouse import until

distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'dask[distributed]'")

pytestmark = pytest.mark.slow

BOOSTING = CandidateSpec(
    name="boosting",
    estimator="sklearn.ensemble.HistGradientBoostingRegressor",
    parameters={"max_iter": 20},
    search=SearchSpec(space={"max_iter": [5, 20], "max_leaf_nodes": [4, 8, 31]}, trials=6),
)
ROWS = 6_000


class Cluster:
    """A scheduler and workers on loopback, as processes."""

    def __init__(self, place: Path) -> None:
        self.place, self.started = place, list[subprocess.Popen[bytes]]()
        self.file = place / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--no-dashboard")
        until(self.file.exists, "dask's scheduler does not start")

    def start(self, kind: str, *said: str) -> "subprocess.Popen[bytes]":
        """Start one, with Tract; its log is beside the scheduler's file."""
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.file), "--host", "127.0.0.1", *said]
        with (self.place / f"{len(self.started)}.log").open("wb") as log:
            made = subprocess.Popen(
                command, cwd=self.place, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
        self.started.append(made)
        return made

    def worker(self, threads: int = 1) -> "subprocess.Popen[bytes]":
        """Start a worker, which nobody starts again when it dies."""
        place = ("--local-directory", str(self.place))
        return self.start("worker", "--nthreads", str(threads), "--no-nanny", "--no-dashboard", *place)

    def workers(self) -> int:
        """How many are there."""
        with distributed.Client(self.address, set_as_default=False) as client:
            return len(client.nthreads())

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def stop(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    monkeypatch.setenv(backends.BACKEND, "dask")
    monkeypatch.setenv(backends.ADDRESS, made.address)
    yield made
    made.stop()


def who(number: int) -> tuple[int, int]:
    return number, os.getpid()


def elsewhere(number: int) -> set[int]:
    """The other processes in which what a task leaves to joblib is done."""
    return set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))) - {os.getpid()}


def die_first(marker: Path, number: int) -> int:
    """The one that is first ends its worker."""
    time.sleep(0.2)
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end(process: int, number: int) -> None:
    os.kill(process, signal.SIGKILL)
    time.sleep(60)


def held_out(exposure: Exposure) -> Matrix:
    training = trained_on(frame(ROWS), exposure)
    return candidates.build(BOOSTING, duckdb.connect(), training, silent, expected=True).held_out("random")


def searched() -> list[tuple[Any, ...]]:
    rows = frame(ROWS)
    found = trials.search(BOOSTING, rows[["a", "b"]], trials.Question(rows["y"].to_numpy()), None, 0, silent)
    return [(trial.number, trial.parameters, trial.loss, trial.folds) for trial in found]


def test_the_bits_are_those_of_this_machine_s_cores(
    cluster: Cluster, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cluster.worker(), cluster.worker()
    until(lambda: cluster.workers() == 2, "dask's workers do not start")
    told = list(workers(ROWS)(delayed(who)(number) for number in range(6)))
    assert [number for number, _ in told] == [0, 1, 2, 3, 4, 5]
    assert {process for _, process in told} == {first.pid, second.pid}
    # as in loky's workers: what an estimator leaves to joblib is done in its process
    assert list(workers(ROWS)(delayed(elsewhere)(number) for number in range(2))) == [set(), set()]
    theirs = held_out(exposure), searched()
    monkeypatch.delenv(backends.BACKEND)
    ours = held_out(exposure), searched()
    np.testing.assert_array_equal(theirs[0], ours[0], strict=True)
    assert theirs[1] == ours[1]
    assert len(ours[1]) == 6


def test_the_task_of_a_worker_that_dies_is_done_by_another(cluster: Cluster, tmp_path: Path) -> None:
    died = [cluster.worker(), cluster.worker()]
    until(lambda: cluster.workers() == 2, "dask's workers do not start")
    done = workers(ROWS)(delayed(die_first)(tmp_path / "died", number) for number in range(6))
    assert list(done) == [0, 1, 2, 3, 4, 5]
    assert sorted(process.poll() is None for process in died) == [False, True]


def test_a_task_that_ends_each_worker_is_a_sentence(cluster: Cluster) -> None:
    for _ in range(4):
        cluster.worker()
    until(lambda: cluster.workers() == 4, "dask's workers do not start")
    sentence = (
        rf"^The workers of dask at {cluster.address} \(TRACT_JOBLIB_ADDRESS\) did not do their work: Attempted to run"
    )
    with pytest.raises(WorkersError, match=sentence):
        list(workers(ROWS)([delayed(die)(0)]))


def test_a_scheduler_that_goes_is_a_sentence(cluster: Cluster) -> None:
    cluster.worker()
    done = workers(ROWS)(delayed(end)(cluster.scheduler.pid, number) for number in range(2))
    with pytest.raises(WorkersError, match=r"did not do their work: .*cancelled"):
        list(done)


def test_who_cannot_fit_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "WAIT", 1)
    with pytest.raises(WorkersError, match=rf"scheduler at {cluster.address} .* has no worker after 1 s\. Start `dask"):
        list(workers(ROWS)([]))
    cluster.worker(threads=3)
    until(lambda: cluster.workers() == 1, "dask's worker does not start")
    with pytest.raises(WorkersError, match=r"^dask's worker at tcp://127\..* has 3 threads, and a fit wants a process"):
        list(workers(ROWS)([]))
    monkeypatch.setenv(backends.ADDRESS, "tcp://127.0.0.1:1")
    with pytest.raises(WorkersError, match=r"^dask's scheduler at tcp://127\.0\.0\.1:1 \(.*\) is not there: "):
        list(workers(ROWS)([]))
    for said in ("127.0.0.1", "pigeon://host:1"):
        monkeypatch.setenv(backends.ADDRESS, said)
        with pytest.raises(WorkersError, match=rf"^dask's scheduler at {said} \(.*\) is not there: "):
            list(workers(ROWS)([]))
    monkeypatch.delenv(backends.ADDRESS)
    with pytest.raises(WorkersError, match=r"^TRACT_JOBLIB is dask, and TRACT_JOBLIB_ADDRESS is not set\. Set it to"):
        list(workers(ROWS)([]))
