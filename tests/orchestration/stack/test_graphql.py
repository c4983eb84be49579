"""Asking Dagster: one that is slow is waited for while it works, and what does not answer is a sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.stack import graphql, layout, processes

# A webserver whose answers take as long as they take: it says `{"data": {"asked": <how often>}}` after its work.
SERVER = """
import http.server, json, sys, time
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global asked
        asked += 1
        {work}
        body = json.dumps({{"data": {{"asked": asked}}}}).encode()
        self.send_response({code})
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
QUICK = "pass"
BUSY = "end = time.monotonic() + 2.5\n        while time.monotonic() < end: sum(range(100_000))"
RESTS = "time.sleep(60)"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    layout.prepare(tmp_path)
    monkeypatch.setenv("TRACT_HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # of an address of this machine nobody asks a proxy
    yield tmp_path
    processes.stop(tmp_path, graphql.DAGSTER)


def started(place: Path, work: str, code: int = 200) -> str:
    """The address of a server in the place of Dagster."""
    processes.start(place, graphql.DAGSTER, [sys.executable, "-c", SERVER.format(work=work, code=code)])
    log = processes.log(place, graphql.DAGSTER)
    assert processes.wait(place, graphql.DAGSTER, lambda: log.exists() and "\n" in log.read_text(), patience=60)
    return f"http://127.0.0.1:{log.read_text().split()[0]}"


@pytest.mark.parametrize("work", [QUICK, BUSY], ids=["quick", "busy"])
def test_an_answer_is_waited_for_while_dagster_works_and_nothing_is_asked_twice(place: Path, work: str) -> None:
    address = started(place, work)
    assert graphql.ask(address, "{}", patience=1) == {"asked": 1}


def refusal(address: str) -> str:
    with pytest.raises(graphql.WebserverError) as error:
        graphql.ask(address, "{}", patience=1)
    return str(error.value)


def test_one_that_does_nothing_is_given_up(place: Path) -> None:
    address = started(place, RESTS)
    assert refusal(address) == f"Dagster does not answer at {address}: it did nothing for 1 s. See `tract status`."


def test_one_that_fails_or_is_gone_is_said(place: Path) -> None:
    address = started(place, QUICK, code=500)
    assert refusal(address) == f"Dagster at {address} fails: 500 Internal Server Error."
    processes.stop(place, graphql.DAGSTER)
    assert refusal(address).endswith("Start it with `make ui`.")
