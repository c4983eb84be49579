"""A directory for what estimators write beside themselves, as CatBoost its logs: it is removed when they are fitted."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

_lock = Lock()
_inside = 0
_made, _before = Path(), Path()


@contextmanager
def scratch() -> Iterator[None]:
    """Work in a temporary directory, which all threads of the process that are inside share; the last removes it."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _made, _before
    with _lock:
        if _inside == 0:
            _before, _made = _here(), Path(tempfile.mkdtemp(prefix="tract-fit-"))
            os.chdir(_made)
            # "" in it means the directory that one is in: a module beside a notebook is still found
            sys.path.append(str(_before))
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            os.chdir(_before if _before.is_dir() else tempfile.gettempdir())
            sys.path.remove(str(_before))
            shutil.rmtree(_made, ignore_errors=True)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # of a process that goes on where its directory was removed
        return Path(tempfile.gettempdir())
