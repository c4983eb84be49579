"""dbt as a process of its own: gRPC does not live through the fork by which other tests start it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def dbt(home: Path, *arguments: str, project: Path = ROOT, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run dbt as a shell would, against the lake of a home."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("dbt")), "--no-use-colors", *arguments],
        cwd=project,
        env={
            **os.environ,
            "TRACT_HOME": str(home),
            "DBT_TARGET_PATH": str(home / "target"),
            "DBT_LOG_PATH": str(home / "logs"),
            **settings,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
