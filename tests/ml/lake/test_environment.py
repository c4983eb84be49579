"""What a shell may have set, and who is asked all the same: real clients, a real lake, a proxy that keeps a list."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pyarrow import fs

from ml import lake
from ml.lake import environment, locks

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "grpc_proxy")
# Each alone would lead elsewhere, or be refused.
LIBPQ = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "127.0.0.2",
    "PGPORT": "1",
    "PGDATABASE": "nothing",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGSERVICE": "nowhere",
    "PGOPTIONS": "-c nonsense=1",
    "PGSSLMODE": "require",
    "PGREQUIREAUTH": "none",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGGSSENCMODE": "require",
    "PGCLIENTENCODING": "nonsense",
    "PGDATESTYLE": "nonsense",
    "PGTZ": "Nowhere/Else",
}


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy's address, and the addresses that it is asked for."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


@pytest.fixture
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", environment.GRPC):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_exceptions")
def test_loopback_is_asked_without_a_proxy_and_others_through_it(
    home: Path, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = proxy
    for name in PROXIES:
        monkeypatch.setenv(name, address)
    with lake.connect() as con:
        place = lake.root(con)
        con.execute(f"copy (select 7 as n) to '{place}/seven.parquet'")
        assert con.execute(f"from '{place}/seven.parquet'").fetchall() == [(7,)]
        assert lake.store().get_file_info("seven.parquet").type == fs.FileType.File
        endpoint = dict(part.split("=", 1) for part in lake.secrets()["tract_s3"].split(";") if "=" in part)["endpoint"]
        child = f"""
import urllib.error, urllib.request
try:
    urllib.request.urlopen("http://{endpoint}/tract")
except urllib.error.HTTPError as error:
    print(error.code)
"""
        told = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
        assert told.stdout == "403\n"  # of S3 itself, to who has no credentials
        assert asked == []
        # `urlopen` goes on with the proxies of this process's first request, which another test may have made.
        assert urllib.request.build_opener().open("http://example.invalid/a").read() == b"ok"
        assert con.execute("select content from read_text('http://example.invalid/b.txt')").fetchall() == [("ok",)]
    assert asked[0] == "http://example.invalid/a"
    assert set(asked[1:]) == {"http://example.invalid/b.txt"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "corp.example, .inner"}, "corp.example,.inner,127.0.0.1,localhost,::1"),
        ({"no_proxy": "localhost,corp.example"}, "localhost,corp.example,127.0.0.1,::1"),
        ({"NO_PROXY": "*"}, "*"),
        ({"no_proxy": ""}, "127.0.0.1,localhost,::1"),
    ],
)
@pytest.mark.usefixtures("no_exceptions")
def test_who_is_asked_without_a_proxy_already_stays_so(
    before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, hosts in before.items():
        monkeypatch.setenv(name, hosts)
    for _ in range(2):
        environment.settle()
        assert (os.environ["no_proxy"], os.environ["NO_PROXY"]) == (after, after)
    assert environment.GRPC not in os.environ


def test_grpc_s_own_setting_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.GRPC, "corp.example")
    environment.settle()
    assert os.environ[environment.GRPC] == "corp.example,127.0.0.1,localhost,::1"


def test_libpq_s_variables_decide_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LIBPQ.items():
        monkeypatch.setenv(name, value)
    with locks.lock("a test"):
        assert not [name for name in os.environ if name.startswith("PG")]
    for name, value in LIBPQ.items():  # set since, as a notebook may
        monkeypatch.setenv(name, value)
    with lake.connect() as con, con.cursor() as other:
        con.execute("create table lake.here as select 1 as n")
        assert other.execute("from lake.here").fetchall() == [(1,)]


def test_a_child_process_is_no_wiser(home: Path) -> None:
    script = "from ml import lake\nwith lake.connect() as con: print(con.execute('select 1').fetchall())"
    odd = {**LIBPQ, "HTTP_PROXY": "http://127.0.0.1:9", "LC_ALL": "xx_YY.ISO-8859-1", "LANG": "C", "TZ": ""}
    env = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    told = subprocess.run(
        [sys.executable, "-c", script], env={**env, **odd}, capture_output=True, text=True, check=False
    )
    assert (told.stdout, told.stderr) == ("[(1,)]\n", "")


def test_duckdb_alone_would_have_heeded_them(home: Path) -> None:
    """What the tests above rest on: libpq inside DuckDB reads its variables at each connection."""
    script = """
import os
from ml import lake
config = lake.config()
os.environ["PGSERVICE"] = "nowhere"
import duckdb
with duckdb.connect(config=config) as con:
    for name in lake.EXTENSIONS:
        con.execute(f"load {name}")
    con.execute(lake.ATTACH)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert 'definition of service "nowhere" not found' in told.stderr
