"""Background processes of one home: started by name, found again, stopped by name.

A process is remembered by its pid and its moment of birth, so a pid that was given to another process since is
never taken for ours, and nothing is stopped that was not started from this home.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestration.stack import layout

# A log that has grown past this is set aside (one old one is kept) when its process starts again.
LOG_BYTES = 10_000_000

# Of a process that works and does not get ready, how many times its patience it has in all: some day it is no start.
LONGEST = 10
# Of the patience, how long nobody looks again: a look goes through the machine's processes, and some wait 0.02 s.
LOOK = 0.02
# Of a core, what it must have at least to be at work: less is what a server takes that has nothing to do.
LEAST = 0.02

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


class Watch:
    """Whether a process gets on with what is waited for: one that rests is given up, one that is slow is not.

    A start that takes 15 s takes three minutes on a machine with ten times as much to do, so the clock alone says
    nothing: processor time, of the process and of all below it, is progress, and so is a line of its log.

    Args:
        patience: Seconds without progress after which it is given up; `LONGEST` times as many in all.
    """

    def __init__(self, home: Path, name: str, patience: float) -> None:
        self.home, self.name, self.patience = home, name, patience
        self.begun = self.moved = self.looked = time.monotonic()
        self.work = self._work()

    def stuck(self) -> str | None:
        """Why it is given up, as `did nothing for 60 s`; None while it gets on."""
        now = time.monotonic()
        if now - self.looked > LOOK * self.patience or now - self.moved > self.patience:
            self.looked, work = now, self._work()
            if work != self.work:
                self.work, self.moved = work, now
        if now - self.moved > self.patience:
            return f"did nothing for {self.patience:g} s"
        if now - self.begun > LONGEST * self.patience:
            return f"was at work for {LONGEST * self.patience:g} s and is not ready"
        return None

    def _work(self) -> tuple[int, int]:
        """Processor time in units of what the patience asks for, and bytes of the log."""
        seconds = 0.0
        for process in family(self.home, self.name):
            try:
                seconds += sum(process.cpu_times()[:2])
            except psutil.Error:
                continue  # it ended meanwhile
        return int(seconds / (LEAST * self.patience)), logged(self.home, self.name)


def wait(home: Path, name: str, ready: Callable[[], bool], patience: float, every: float = 0.05) -> bool:
    """Wait until a process is ready; False if it ends instead.

    Args:
        patience: As of `Watch`.
        every: Seconds between two looks.

    Raises:
        StackError: It was given up.
    """
    watch = Watch(home, name, patience)
    while not ready():
        if find(home, name) is None:
            return False
        if why := watch.stuck():
            raise failure(home, name, why)
        time.sleep(every)
    return True


def family(home: Path, name: str) -> list[psutil.Process]:
    """The living process started under this name, and all below it; none if it is not alive."""
    pid = find(home, name)
    if pid is None:
        return []
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def maimed(home: Path, name: str) -> bool:
    """Whether a process that ours started itself has ended, and ours has not noticed yet."""
    try:
        return any(
            child.status() == psutil.STATUS_ZOMBIE for leader in family(home, name)[:1] for child in leader.children()
        )
    except psutil.NoSuchProcess:
        return True


def listens(home: Path, name: str, port: int) -> bool:
    """Whether the process, or one below it, listens on a port: who answers there is ours, and nobody else's."""
    for process in family(home, name):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue  # it ended meanwhile
        if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
            return True
    return False


def log(home: Path, name: str) -> Path:
    """Where a process logs."""
    return home / "logs" / f"{name}.log"


def logged(home: Path, name: str) -> int:
    """How many bytes it has logged."""
    path = log(home, name)
    return path.stat().st_size if path.exists() else 0


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
