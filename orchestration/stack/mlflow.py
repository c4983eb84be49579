"""MLflow's server: runs in the stack's Postgres, files in its S3, given out by the server itself.

It has an environment of its own, `.venv/mlflow`: it wants an older pyarrow than dbt and Dagster run with.
"""

import os
import signal
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from ml import lake
from ml.code import command
from ml.lake import locks
from ml.reports import mlflow as tracking
from orchestration.stack import databases, layout, ports, processes

NAME = "mlflow"
FIRST_PORT = 5000  # MLflow's own; the next free one when it is taken
PROGRAM = Path(sys.prefix) / "mlflow" / "bin" / "mlflow"
# Seconds without progress. The first start makes 60 tables, 15 s; a next one imports, 8 s.
PATIENCE = 180.0
S3_NAMES = (
    "endpoint|key_id|region|secret|session_token|url_style|use_ssl|refresh_info"  # of a secret, as DuckDB writes it
)


def environment() -> dict[str, str]:
    """What the server is told: where runs and files are, and how to enter there.

    Raises:
        LakeUnavailableError: The lake's secrets are not there.
    """
    secrets = lake.secrets()
    if "tract_s3" not in secrets:
        raise lake.unavailable("its S3 is not known", f"no secret tract_s3 in {lake.home() / 'secrets'}")
    s3 = locks.parse_secret(secrets["tract_s3"], S3_NAMES)
    root = locks.parse_secret(secrets["tract"], "data_path|metadata_parameters|metadata_path")["data_path"]
    scheme = "http" if s3.get("use_ssl") == "false" else "https"
    return {
        **processes.environment(without=("AWS_", "MLFLOW_", "PG", "PYTHON")),
        "MLFLOW_BACKEND_STORE_URI": databases.url(os.environ.get("TRACT_MLFLOW_DATABASE", "mlflow")),
        "MLFLOW_ARTIFACTS_DESTINATION": root.removesuffix("lake/") + "mlflow",
        "MLFLOW_S3_ENDPOINT_URL": f"{scheme}://{s3['endpoint']}",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path" if s3.get("url_style") == "path" else "virtual",
        "AWS_ACCESS_KEY_ID": s3["key_id"],
        "AWS_SECRET_ACCESS_KEY": s3["secret"],
        "AWS_DEFAULT_REGION": s3["region"],
        "AWS_EC2_METADATA_DISABLED": "true",
        # No word to the maker, and no workers for jobs that nobody gives it.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def start(home: Path) -> str:
    """Start it if it does not run; its address when it answers, which `ml.reports.mlflow` finds from then on.

    Raises:
        StackError: It is not installed, or does not come up; the message says why.
    """
    if processes.find(home, NAME) is None:
        _launch(home)
    if not processes.wait(home, NAME, lambda: _answers(home), PATIENCE, every=0.3):
        raise processes.failure(home, NAME, "did not start")
    tracking.address_file(home).write_text(f"{address(home)}\n")
    return address(home)


def _launch(home: Path) -> None:
    if not PROGRAM.exists():
        raise layout.StackError(f"MLflow's server is not installed: {PROGRAM} is missing. `make mlflow` installs it.")
    port = (layout.read(_file(home)) or {}).get("port")
    if port is None or not ports.keep(port):
        port = next(p for p in range(FIRST_PORT, FIRST_PORT + 100) if ports.usable(p))
        layout.write(_file(home), {"port": port})
    processes.start(
        home,
        NAME,
        # one worker: 300 MB each, and one answers a person and a run
        [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env=environment(),
    )


def stop(home: Path) -> bool:
    """Stop it; whether it ran. From then on MLflow is off for `ml.reports.mlflow`."""
    pid = processes.find(home, NAME)
    stopped = processes.stop(home, NAME)
    if pid is not None:
        with suppress(ProcessLookupError):  # what is left of its group: the worker
            os.killpg(pid, signal.SIGKILL)
    tracking.address_file(home).unlink(missing_ok=True)
    return stopped


def status(home: Path) -> processes.Status | None:
    """Whether it runs, and where; None where it was never started."""
    if not _file(home).exists():
        return None
    pid = processes.find(home, NAME)
    return processes.Status(
        name=NAME,
        state="stopped" if pid is None else "up" if _answers(home) else "starting",
        address=address(home),
        pid=pid,
        data=None,  # in Postgres and S3
        log=processes.log(home, NAME),
    )


def address(home: Path) -> str:
    """Where the server is."""
    state = layout.read(_file(home))
    if state is None:
        raise layout.StackError(f"MLflow was never started here. Start it with {command('mlflow')}.")
    return f"http://127.0.0.1:{state['port']}"


def _answers(home: Path) -> bool:
    if not processes.listens(home, NAME, urlsplit(address(home)).port or 0):
        return False  # another home's may have taken the port while ours was loading
    try:
        with urllib.request.urlopen(f"{address(home)}/health", timeout=30) as answer:
            return bool(answer.read() == b"OK")
    except (OSError, urllib.error.URLError):
        return False


def _file(home: Path) -> Path:
    return home / "run" / "mlflow.json"
