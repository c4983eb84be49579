"""joblib's backend by a setting: fits by this machine's cores, or by the workers of dask or ray.

joblib 1.6 has a backend for dask, and ray one for joblib. The first waits for ever for a task whose worker died, since
it tells nobody of a future that failed; the second gives nothing before all is done. This one needs no more than
futures, which both have.
"""

import inspect
import logging
import os
import platform
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

import pandas as pd
from joblib import Parallel, parallel_config
from joblib.parallel import ParallelBackendBase

from ml import identity
from ml.errors import TractError
from ml.lake import first_line

BACKEND = "TRACT_JOBLIB"
ADDRESS = "TRACT_JOBLIB_ADDRESS"
LOKY, DASK, RAY = "loky", "dask", "ray"
# Seconds in which a scheduler answers, and has a worker.
WAIT = 10
WITHOUT = f"leave {BACKEND} out and this machine's cores do the work"


class WorkersError(TractError):
    """The workers are not there, are others, or were lost; no candidate is to blame. The message says what to do."""


class TaskError(Exception):
    """What a task raised itself, in its worker."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Workers(ParallelBackendBase):  # type: ignore[misc]
    """What joblib needs to know of workers that are given a task and answer by a future.

    Args:
        send: Gives a worker the arguments of `call`; a future.
        share: Gives the workers an argument that several tasks have; what stands for it where a task is sent.
        count: How many tasks are under way at a time.
    """

    supports_retrieve_callback = True

    def __init__(self, send: Callable[..., Any], share: Callable[[Any], Any], count: int) -> None:
        super().__init__()
        self.send, self.share, self.count = send, share, count
        self.shared: dict[int, tuple[Any, Any]] = {}

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Two at the least: one task at a time joblib would do here."""
        return max(self.count, 2)

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Any:
        """Send a task; rows, and the object that a method is of, are sent once for all tasks."""
        ((work, args, kwargs),) = func.items  # one, as this class does not say how many
        if inspect.ismethod(work):
            args, work = (self._stand_in(work.__self__), *args), work.__func__
        sent = [self._stand_in(one) if isinstance(one, pd.DataFrame | pd.Series) else one for one in args]
        future: Any
        try:
            future = self.send(computing(), work, *sent, **kwargs)
        except Exception as error:  # noqa: BLE001 (joblib would wait for a task that was never sent)
            future = Future()
            future.set_exception(error)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> list[Any]:
        """The result of a task, of which a future tells that it is done."""
        done, value = out.result()
        if not done:
            raise TaskError(value)
        return [value]

    def _stand_in(self, value: Any) -> Any:
        if id(value) not in self.shared:  # with the value, so that no other takes its place
            self.shared[id(value)] = value, self.share(value)
        return self.shared[id(value)][1]


def asked() -> str:
    """Who fits, as `TRACT_JOBLIB` says.

    Raises:
        WorkersError: It is nobody that is known.
    """
    said = os.environ.get(BACKEND, LOKY)
    if said not in (LOKY, *CONNECT):
        raise WorkersError(f"{BACKEND} is '{said}'. It must be {LOKY} (this machine's cores), {' or '.join(CONNECT)}.")
    return said


def each(tasks: Iterable[Any]) -> Iterator[Any]:
    """What tasks give that dask's or ray's workers do, in the tasks' order; what a task raises is raised.

    Raises:
        WorkersError: The package is not installed, nobody is at the address, the workers are others, or were lost.
    """
    with CONNECT[asked()]() as workers:
        yield from done(workers, tasks)


def done(workers: Workers, tasks: Iterable[Any]) -> Iterator[Any]:
    """See `each`."""
    try:
        yield from Parallel(n_jobs=-1, backend=workers, return_as="generator", pre_dispatch="n_jobs")(tasks)
    except TaskError as raised:
        raise raised.error from None
    except MemoryError:
        raise
    except Exception as error:
        # of what dask's scheduler cannot read, the cause says why
        why = first_line(error.__cause__ if type(error) is RuntimeError and error.__cause__ else error)
        raise WorkersError(
            f"The workers of {asked()} at {address()} ({ADDRESS}) did not do their work: {why}. They, and dask's "
            "scheduler, need Tract and the candidates' modules, at the versions that are here, and memory for the "
            f"rows; their own logs say more. Start them again, or {WITHOUT}."
        ) from error


def call(wanted: Mapping[str, str], work: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[bool, Any]:
    """What a worker does: whether the work was done, and what it gave or raised.

    Args:
        wanted: See `computing`, as the one who asks has it.
    """
    if found := {name: number for name, number in computing().items() if number != wanted.get(name)}:
        needed = {name: wanted.get(name, "none") for name in found}
        return False, WorkersError(
            f"A worker has {_listed(found)}, and this process {_listed(needed)}. Install the same there, and start it "
            f"again, or {WITHOUT}."
        )
    try:
        with parallel_config(backend="threading"):  # what an estimator starts itself stays in the process, as loky's
            return True, work(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 (it is raised where the result is read)
        return False, error


@cache
def computing() -> dict[str, str]:
    """The versions of what computes."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: version(name) for name in identity.LIBRARIES},
        "Tract's code": identity.modules(identity.HERE, identity.LEARNING)[:12],
    }


def address() -> str:
    """Where the workers are asked for, as `TRACT_JOBLIB_ADDRESS` says; ray finds a cluster that this machine is of."""
    return os.environ.get(ADDRESS) or ("auto" if asked() == RAY else "")


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _installed(package: str, install: str) -> Any:
    try:
        # by name: whoever follows the imports of a module is not to meet it
        return import_module(package)
    except ImportError as error:
        raise WorkersError(
            f"{BACKEND} is {asked()}, which is not installed ({first_line(error)}). Run pip install '{install}', or "
            f"{WITHOUT}."
        ) from None


@contextmanager
def _dask() -> Iterator[Workers]:
    distributed, at = _installed("distributed", "dask[distributed]"), address()
    if not at:
        raise WorkersError(
            f"{BACKEND} is dask, and {ADDRESS} is not set. Set it to the scheduler's address, such as tcp://host:8786, "
            f"or {WITHOUT}."
        )
    try:
        client = distributed.Client(at, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkersError(
            f"dask's scheduler at {at} ({ADDRESS}) is not there: {first_line(error)}. Start `dask scheduler`, or "
            f"{WITHOUT}."
        ) from None
    with client:
        yield _dask_workers(client, at)


def _dask_workers(client: Any, at: str) -> Workers:
    start = f"`dask worker {at} --nworkers=-1 --nthreads=1`"
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except TimeoutError:
        raise WorkersError(
            f"dask's scheduler at {at} ({ADDRESS}) has no worker after {WAIT} s. Start {start}, or {WITHOUT}."
        ) from None
    threads = client.nthreads()
    if max(threads.values()) > 1:  # which hold Python's lock in turn, and BLAS' number of threads in common
        raise WorkersError(
            f"dask's worker at {max(threads, key=threads.get)} has {max(threads.values())} threads, and a fit wants a "
            f"process of its own. Start it as {start}, or {WITHOUT}."
        )
    # to all: rows that one worker alone has are lost with it
    share = partial(client.scatter, broadcast=True, hash=False)
    return Workers(partial(client.submit, call, pure=False), share, len(threads))


@contextmanager
def _ray() -> Iterator[Workers]:
    ray, at = _installed("ray", "ray"), address()
    host, _, port = at.rpartition("://")[2].partition(":")
    try:
        if port:  # ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=WAIT).close()
        ray.init(at, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise WorkersError(
            f"No cluster of ray is at {at} ({ADDRESS}): {first_line(error)}. Start `ray start --head`, or {WITHOUT}."
        ) from None
    try:
        remote = ray.remote(call)
        count = int(ray.cluster_resources().get("CPU", 0))
        yield Workers(lambda *args, **kwargs: remote.remote(*args, **kwargs).future(), ray.put, count)
    finally:
        ray.shutdown()


CONNECT = {DASK: _dask, RAY: _ray}
