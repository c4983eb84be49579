"""Starting, killing and stopping real servers; who gets in."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from orchestration import stack
from orchestration.stack import layout, postgres, processes, s3

from .conftest import Command, kill, lake, pid, servers


def test_up_again_starts_nothing_and_takes_less_than_a_second(home: Path) -> None:
    before = [pid(home, "s3"), pid(home, "postgres")]
    begun = time.monotonic()
    stack.up(home)
    assert time.monotonic() - begun < 1
    assert [pid(home, "s3"), pid(home, "postgres")] == before


@pytest.mark.slow
def test_a_shell_with_a_proxy_libpq_s_variables_and_no_locale_starts_the_same_servers(
    tmp_path: Path, command: Command
) -> None:
    """As in a container behind a company's proxy; `up` waited 76 s for S3 there."""
    other = tmp_path / "home"
    dead = "http://127.0.0.1:9"
    odd = {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"), dead),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
        **{"PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGSSLMODE": "require", "PGSERVICE": "nowhere", "PGDATA": "/"},
        **{"LC_ALL": "xx_YY.ISO-8859-1", "LANG": "C", "TZ": ""},
    }
    try:
        for _ in range(2):  # started, and found again
            told = command(other, "up", **odd)
            assert (told.returncode, told.stderr) == (0, "")
            assert [line.split()[1] for line in told.stdout.splitlines()] == ["up", "up", "stopped"]
    finally:
        stack.down(other)


def test_a_user_without_a_name_is_told_what_postgres_needs() -> None:
    postgres._named(0)
    with pytest.raises(layout.StackError) as error:
        postgres._named(2**31 - 2)
    assert str(error.value).startswith(
        "Postgres makes its data directory for a user with a name, and uid 2147483646 has none: add a line such as "
        "tract:x:2147483646:"
    )


@pytest.mark.slow
def test_two_shells_at_once_make_one_server_each(tmp_path: Path) -> None:
    home = tmp_path / "home"
    up = "import sys, pathlib, orchestration.stack as stack; stack.up(pathlib.Path(sys.argv[1]))"
    shells = [subprocess.Popen([sys.executable, "-c", up, str(home)]) for _ in range(2)]
    try:
        assert [shell.wait(60) for shell in shells] == [0, 0]
        assert sorted(servers(home)) == sorted([pid(home, "s3"), pid(home, "postgres")])
    finally:
        stack.down(home)
    assert servers(home) == []


@pytest.mark.parametrize("killed", [["s3"], ["postgres"], ["s3", "postgres"]])
def test_a_killed_server_comes_back_with_its_data(home: Path, killed: list[str]) -> None:
    table = "killed_" + "_".join(killed)
    with lake(home) as connection:
        connection.execute(f"create table lake.{table} as select range as n from range(1000)")
    addresses = {row.name: row.address for row in stack.status(home)}
    for name in killed:
        kill(pid(home, name))
    assert {row.name: row.state for row in stack.status(home) if row.name in killed} == dict.fromkeys(killed, "stopped")
    stack.up(home)
    assert {row.name: row.address for row in stack.status(home)} == addresses  # who was connected finds it again
    with lake(home) as connection:
        assert connection.execute(f"select sum(n) from lake.{table}").fetchall() == [(499500,)]


def test_data_is_there_after_down_and_up_and_ports_that_were_taken_are_replaced(home: Path, command: Command) -> None:
    with lake(home) as connection:
        connection.execute("create table lake.kept as select 42 as answer")
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        stopped = command(home, "down")
        assert stopped.stdout.split() == ["postgres", "stopped", "s3", "stopped"]
        assert servers(home) == []
        assert bystander.poll() is None
        assert command(home, "down").stdout == "nothing ran\n"
        with _listening(postgres.address(home).port), _listening(int(s3.address(home).endpoint.split(":")[1])):
            started = command(home, "up")
    finally:
        bystander.kill()
        bystander.wait()
    assert (started.returncode, started.stderr) == (0, "")
    with lake(home) as connection:
        assert connection.execute("select answer from lake.kept").fetchall() == [(42,)]


def test_a_pid_that_is_another_process_by_now_is_left_alone(tmp_path: Path) -> None:
    layout.prepare(tmp_path)
    ours = processes.start(tmp_path, "sleeper", ["sleep", "60"])
    other = subprocess.Popen(["sleep", "60"])
    try:
        record = tmp_path / "run" / "sleeper.pid.json"
        mine = layout.read(record)
        assert mine is not None
        time.sleep(0.02)  # a later birth, in ticks of 10 ms
        layout.write(record, mine | {"pid": other.pid, "born": mine["born"] - 1})
        assert processes.find(tmp_path, "sleeper") is None
        assert not processes.stop(tmp_path, "sleeper")
        assert other.poll() is None
        layout.write(record, mine)
        assert processes.find(tmp_path, "sleeper") == ours
        assert processes.stop(tmp_path, "sleeper")
        assert not psutil.pid_exists(ours)
    finally:
        other.kill()
        other.wait()


def test_nothing_listens_beyond_loopback(home: Path) -> None:
    listening = [
        connection.laddr.ip
        for name in ("s3", "postgres")
        for connection in psutil.Process(pid(home, name)).net_connections("inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    ]
    assert len(listening) >= 2
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["", "/tract", "/tract/.stack/ready", "/tract/new"])
def test_s3_refuses_who_has_no_credentials(home: Path, method: str, path: str) -> None:
    request = urllib.request.Request(f"http://{s3.address(home).endpoint}{path}", method=method, data=b"x" * 2000)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in (403, 405)
    refused.value.close()


def test_the_stores_inner_ports_take_no_writes_from_anybody(home: Path) -> None:
    state = layout.read(home / "run" / "s3.json")
    assert state is not None
    for listener in ("filer", "volume", "master", "admin"):
        address = f"http://127.0.0.1:{state['ports'][f'{listener}.port']}/buckets/tract/open"
        for method in ("GET", "PUT", "POST"):
            with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as refused:
                urllib.request.urlopen(urllib.request.Request(address, method=method, data=b"x"), timeout=10)
            if isinstance(refused.value, urllib.error.HTTPError):
                refused.value.close()
    with lake(home) as connection:
        assert connection.execute("select * from glob('s3://tract/open*')").fetchall() == []


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("user", ["tract", "postgres"])
def test_postgres_refuses_who_has_no_password(home: Path, user: str, password: str) -> None:
    port = postgres.address(home).port
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=port, user=user, password=password, dbname="lake")


def test_dagsters_database_is_there_and_the_role_is_no_superuser(home: Path) -> None:
    there = postgres.address(home, "dagster")
    with (
        psycopg2.connect(
            host=there.host, port=there.port, user=there.user, password=there.password, dbname=there.database
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select current_database(), rolsuper, rolcreatedb from pg_roles where rolname = current_user")
        assert cursor.fetchone() == ("dagster", False, True)
        cursor.execute("show max_connections")
        assert cursor.fetchone() == ("200",)
    connection.close()


def test_a_server_that_does_not_start_is_said_with_its_log(home: Path, tmp_path: Path) -> None:
    layout.prepare(tmp_path)
    layout.write(tmp_path / "run" / "postgres.json", {"superuser_password": "a", "password": "b"})
    (tmp_path / "postgres").mkdir()
    with pytest.raises(layout.StackError, match="postgres did not start; its log is") as error:
        postgres.start(tmp_path)
    assert str(tmp_path / "logs" / "postgres.log") in str(error.value)


@contextmanager
def _listening(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield
