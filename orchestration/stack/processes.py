"""Background processes of one home: started by name, found again, stopped by name.

A process is remembered by its pid and its moment of birth, so a pid that was given to another process since is
never taken for ours, and nothing is stopped that was not started from this home.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.stack import layout

# A log that has grown past this is set aside (one old one is kept) when its process starts again.
LOG_BYTES = 10_000_000

# Our own children, kept so that a dead one is reaped and not taken for a living process.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Status:
    """One service, as `status` shows it."""

    name: str
    state: str
    address: str
    pid: int | None
    data: Path | None
    log: Path | None


def start(
    home: Path,
    name: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
) -> int:
    """Start a process that outlives this one and its terminal, logging to home/logs/NAME.log; return its pid."""
    path = log(home, name)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as output:
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or home,
                env=None if env is None else dict(env),
                start_new_session=True,  # Ctrl-C in the shell that started it does not reach it
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        except OSError as error:
            raise layout.StackError(f"{name} cannot be started: {error.strerror}: {error.filename}.") from error
    _children[process.pid] = process
    layout.write(_record(home, name), {"pid": process.pid, "born": _born(process.pid)})
    return process.pid


def find(home: Path, name: str) -> int | None:
    """The pid of the process started under this name, if it is alive."""
    record = layout.read(_record(home, name))
    if record is None:
        return None
    pid = int(record["pid"])
    return pid if _alive(pid, record["born"]) else None


def stop(home: Path, name: str, *, by: signal.Signals = signal.SIGTERM, patience: float = 20.0) -> bool:
    """Ask the process to end, kill it when it does not; whether there was one."""
    record = layout.read(_record(home, name))
    stopped = False
    if record is not None and _alive(record["pid"], record["born"]):
        stopped = True
        for ask in (by, signal.SIGKILL):
            try:
                os.kill(record["pid"], ask)
            except ProcessLookupError:
                break
            if _wait(record["pid"], record["born"], patience):
                break
    _record(home, name).unlink(missing_ok=True)
    return stopped


def log(home: Path, name: str) -> Path:
    """Where a process logs."""
    return home / "logs" / f"{name}.log"


def failure(home: Path, name: str, what: str) -> layout.StackError:
    """An error that names the log and shows its last lines."""
    path = log(home, name)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-5:] if path.exists() else []
    return layout.StackError("\n  ".join([f"{name} {what}; its log is {path}.", *lines]))


def environment(*, without: tuple[str, ...]) -> dict[str, str]:
    """Our own environment less the variables with these prefixes, which the server would take for its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


def _wait(pid: int, born: float, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while _alive(pid, born):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _alive(pid: int, born: float) -> bool:
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
        return False
    try:
        alive = _born(pid) == born and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    if not alive and pid in _children and _children[pid].poll() is not None:
        del _children[pid]  # it died since the poll above, and is reaped now
    return alive


def _born(pid: int) -> float:
    """When a process began: on Linux in clock ticks since boot, which setting the clock does not move."""
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error
    return float(stat.rpartition(")")[2].split()[19])  # field 22; the name before it may hold spaces and brackets


def _record(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.pid.json"
