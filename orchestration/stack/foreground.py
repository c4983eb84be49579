"""What a service manager or a container starts: it stays with the servers, passes Dagster's log on, ends with them."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from orchestration.stack import dagster, layout, postgres, processes, remote, s3

SECONDS = 2.0  # between two looks; one takes 5 ms
# Looks at which there is no code server, which `dagster dev` does not notice; while it loads a project anew there may
# be none for a moment.
LOOKS = 5
CODE_SERVER = "dagster api grpc"


def attend(home: Path, say: Callable[[str], None], since: int = 0) -> None:
    """Stay with a Dagster that runs until SIGTERM or SIGINT; it has ended then.

    A `tract ui` elsewhere may start it anew meanwhile: that one is attended then.

    Args:
        say: Is given what Dagster logs, as it comes.
        since: Bytes of the log that are not said.

    Raises:
        StackError: It has lost a process, or a server below it has ended. It was ended: who started us starts all
            again.
    """
    told = threading.Event()
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: told.set())
    log = processes.log(home, dagster.NAME)
    passed_on, without = since, 0
    while not told.wait(SECONDS):
        passed_on = _pass_on(log, passed_on, say)
        with layout.lock(home):  # nobody starts or stops one meanwhile
            without = 0 if _has_code_server(home) else without + 1
            lost = _lost(home) or (dagster.NAME if without == LOOKS else None)
            if lost:
                dagster.stop(home)
                raise processes.failure(home, lost, "has ended, or a process of it")
    with layout.lock(home):
        dagster.stop(home)
    _pass_on(log, passed_on, say)


def _pass_on(log: Path, passed_on: int, say: Callable[[str], None]) -> int:
    """Say what stands after so many bytes; how many there are. A shorter log is another one: the old was set aside."""
    with log.open("rb") as lines:
        lines.seek(passed_on if log.stat().st_size >= passed_on else 0)
        if text := lines.read():
            say(text.decode(errors="replace"))
        return lines.tell()


def _lost(home: Path) -> str | None:
    """The first server that is not there as it was started."""
    ours: tuple[str, ...] = (s3.NAME, postgres.NAME) if remote.places(home) is None else ()
    for name in (*ours, dagster.NAME):
        if processes.find(home, name) is None or (name == dagster.NAME and processes.maimed(home, name)):
            return name
    return None


def _has_code_server(home: Path) -> bool:
    for process in processes.family(home, dagster.NAME):
        with suppress(psutil.Error):  # it ended meanwhile
            if CODE_SERVER in " ".join(process.cmdline()):
                return True
    return False
