"""Free ports on loopback."""

import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

# Below 32768, where Linux begins to hand out ports to outgoing connections: a remembered port stays free.
LOWEST, HIGHEST = 20000, 32767


def keep(port: int) -> bool:
    """Whether a remembered port is usable again; a server just killed holds it some milliseconds more."""
    deadline = time.monotonic() + 1
    while not usable(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def usable(port: int) -> bool:
    """Whether a server of ours can listen on this port."""
    # SeaweedFS leaves /tmp/seaweedfs-*-PORT.sock behind when killed, and hangs on one that is another user's.
    if any(path.lstat().st_uid != os.geteuid() for path in sockets(port)):
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: not stopped by TIME_WAIT
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free(highest: int = HIGHEST) -> Iterator[int]:
    """Ports that are free now, each once, in random order, so that two homes seldom meet."""
    for port in random.sample(range(LOWEST, highest + 1), highest + 1 - LOWEST):
        if usable(port) and not sockets(port):
            yield port


def sockets(port: int) -> list[Path]:
    """The unix sockets SeaweedFS made for a port."""
    return list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
