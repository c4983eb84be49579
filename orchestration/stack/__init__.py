"""The local stack: S3, Postgres and, on them, Dagster and MLflow; started when needed, left running, stopped by `down`.

Everything it keeps is below one home directory; layout.py says what. After `connect` the servers are someone
else's: `up` checks that the lake can be opened, and nothing is started or stopped.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from orchestration.stack import dagster, extensions, layout, mlflow, postgres, processes, remote, s3, secrets


def up(home: Path) -> None:
    """Start what does not run; return when all of it is ready. Safe to call at any time, from many shells."""
    layout.prepare(home)
    with layout.lock(home):
        extensions.install(home / "extensions")
        if remote.places(home) is None:
            ran = all(processes.find(home, service.NAME) for service in (s3, postgres))
            changed = secrets.write(home / "secrets", home / "extensions", s3.start(home), postgres.start(home))
            if ran and not changed:
                return  # both have just answered; loading the extensions to attach the lake takes 0.6 s more
        remote.check(home / "secrets", home / "extensions")


def down(home: Path) -> list[str]:
    """Stop what was started from this home; the names of what ran."""
    if not (home / "run").exists():
        return []
    with layout.lock(home):
        return [service.NAME for service in (dagster, mlflow, postgres, s3) if service.stop(home)]


def ui(home: Path) -> str:
    """Bring Dagster up too, on a stack that is up; the address of its UI."""
    with layout.lock(home):
        return dagster.start(home)


def track(home: Path) -> str:
    """Bring MLflow's server up too, on a stack that is up; its address."""
    with layout.lock(home):
        return mlflow.start(home)


def reload(home: Path) -> None:
    """Have Dagster load its definitions anew, if it runs: what it shows depends on whether MLflow is on."""
    with layout.lock(home):
        if processes.find(home, dagster.NAME) is not None:
            dagster.reload(home)


def status(home: Path) -> list[processes.Status]:
    """One row per service."""
    places = remote.places(home)
    if places is None:
        servers = [s3.status(home), postgres.status(home)]
    else:
        servers = [processes.Status(name, "someone else's", where, None, None, None) for name, where in places.items()]
    optional = mlflow.status(home)
    return [*servers, dagster.status(home), *([optional] if optional else [])]


def connect(home: Path, s3: secrets.S3, postgres: secrets.Postgres) -> None:
    """Use these servers from now on, if the lake can be opened on them."""
    layout.prepare(home)
    with layout.lock(home):
        extensions.install(home / "extensions")
        with TemporaryDirectory(dir=home / "tmp") as draft:
            secrets.write(Path(draft), home / "extensions", s3, postgres)
            remote.check(Path(draft), home / "extensions")
        remote.remember(home, s3, postgres)
        secrets.write(home / "secrets", home / "extensions", s3, postgres)


def connect_local(home: Path) -> None:
    """Use the local servers again; the next `up` starts them."""
    layout.prepare(home)
    with layout.lock(home):
        remote.forget(home)
