"""What lies where below a stack's home directory, who may read it, and the lock that `up` and `down` hold."""

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.errors import TractError

# Everything but the extensions is for its owner alone: credentials, data, and logs that may quote statements.
PRIVATE = ("secrets", "run", "logs", "tmp", "s3")


class StackError(TractError):
    """Something the user can act on, said in one sentence."""


def prepare(home: Path) -> None:
    """Make the directories below home, with their modes."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # As root, Postgres runs as a user of its own, which must pass through home (not list it).
            home.chmod(stat.S_IMODE(home.stat().st_mode) | stat.S_IXOTH)
        for name in PRIVATE:
            (home / name).mkdir(mode=0o700, exist_ok=True)
        (home / "extensions").mkdir(exist_ok=True)
    except OSError as error:
        raise StackError(f"The stack's home cannot be made: {error.strerror}: {error.filename}.") from error


@contextmanager
def lock(home: Path) -> Iterator[None]:
    """Hold the home's lock: one process at a time starts or stops its servers. It ends with its process."""
    with (home / "run" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file."""
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    content: dict[str, Any] = json.loads(text)
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file as a whole, readable by its owner alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())  # without it a power cut can leave an empty file where the passwords were
    os.replace(draft, path)
