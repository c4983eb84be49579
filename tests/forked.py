"""dbt's command, forked from a process that has imported dbt: half of a dbt process of 8 s is imports.

Each call is a process of its own, with the folder, the environment and the streams that a shell gives it.
"""

import atexit
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

DBT = Path(sys.executable).with_name("dbt")

processes = multiprocessing.get_context("forkserver")
# What dbt imports for any command, and nothing of Tract's: that is found from the folder and the environment.
processes.set_forkserver_preload(["tests.warm_dbt"])


@cache
def _path() -> list[str]:
    """Where a script beside this Python looks for modules; pytest adds places of its own."""
    told = subprocess.check_output([sys.executable, "-c", "import json, sys; print(json.dumps(sys.path[1:]))"])
    return [str(DBT.parent), *json.loads(told)]


def _run(arguments: list[str], folder: Path, environment: dict[str, str], path: list[str], streams: list[str]) -> None:
    from dbt.cli.main import cli

    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    sys.argv = [str(DBT), *arguments]
    try:
        cli()
    finally:
        atexit._run_exitfuncs()  # a forked process ends without them


def dbt(
    arguments: list[str], folder: Path, environment: dict[str, str], seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run dbt's command; what `subprocess.run` would give.

    Raises:
        subprocess.TimeoutExpired: It took longer; it was killed.
    """
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place, "out"), Path(place, "err")
        out.touch()
        err.touch()
        process = processes.Process(target=_run, args=(arguments, folder, environment, _path(), [str(out), str(err)]))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([str(DBT), *arguments], seconds, out.read_text(), err.read_text())
        code = process.exitcode
        assert code is not None
        return subprocess.CompletedProcess([str(DBT), *arguments], code, out.read_text(), err.read_text())
