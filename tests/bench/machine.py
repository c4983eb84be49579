"""Work in a process of its own, its seconds and memory; and the machine that it ran on."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]


def measured(
    module: str, name: str, told: dict[str, Any], python: str = sys.executable, beside: Sequence[psutil.Process] = ()
) -> tuple[dict[str, Any], float, int]:
    """Run one piece of work of a module; what it found, the seconds of its process, its tree's peak resident bytes.

    Args:
        beside: Servers that work for it, whose trees' memory counts too.
    """
    os.sync()  # what was written before is not written back while this one works
    began = time.perf_counter()
    process = subprocess.Popen(
        [python, "-m", module, name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), beside, peak), daemon=True)
    watcher.start()
    out, _ = process.communicate(json.dumps(told))
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}")
    return json.loads(out.splitlines()[-1]), seconds, peak[0]


def _watch(root: psutil.Process, beside: Sequence[psutil.Process], peak: list[int]) -> None:
    with suppress(psutil.NoSuchProcess):  # it has ended, which its status is the first to tell
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for top in (root, *beside):
                for process in [top, *top.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        total += process.memory_info().rss
            peak[0] = max(peak[0], total)
            time.sleep(0.02)


def facts(*packages: str) -> dict[str, Any]:
    """What it ran on, with the versions of some packages."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
