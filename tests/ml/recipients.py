"""Who is told: a webhook and a mail server on loopback, real ones, which refuse, hang and hang up as a test says."""

import base64
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "T0KEN/s3cret"  # what no word of ours may hold: of the URL's path, and the password
HANG, DROP = -1, -2  # instead of an answer: silence, or the end of the connection


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Webhook:
    """Its address, what it was sent, and what it answers: the codes one after another, then 200."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    silence: float = 1.0  # seconds that it hangs


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def webhook() -> Iterator[Webhook]:
    seen = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.requests.append(Request(self.path, dict(self.headers), body))
            code = seen.answers.pop(0) if seen.answers else 200
            if code == HANG:
                time.sleep(seen.silence)
            if code in (HANG, DROP):
                self.close_connection = True
                return
            self.send_response(code, f"what {self.path} was sent is repeated")
            self.send_header("Location", f"{seen.url}/elsewhere")
            self.end_headers()
            if code != 204:
                self.wfile.write(body)

        def do_GET(self) -> None:  # where a redirect was followed
            self.do_POST()

        def log_message(self, format: str, *said: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}/services/{SECRET}"
        with serving(server):
            yield seen


@dataclass
class Mail:
    sender: str
    recipient: str
    content: str


@dataclass
class MailServer:
    """Where it listens, the mails it took, who logged in, and its answers by verb, `.` for the mail, if not as usual.

    An empty answer is the end of the connection.
    """

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)


@contextmanager
def mail_server(user: str = "", password: str = "", host: str = "127.0.0.1") -> Iterator[MailServer]:
    seen = MailServer()
    usual = {"EHLO": "250-here\r\n250 AUTH PLAIN", "DATA": "354 go on", "QUIT": "221 bye", ".": "250 taken"}

    class Handler(socketserver.StreamRequestHandler):
        def answer(self, verb: str) -> bool:
            said = seen.answers.get(verb, usual.get(verb, "250 ok"))
            self.wfile.write(f"{said}\r\n".encode() if said else b"")
            return bool(said)

        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            envelope: dict[str, str] = {}
            while line := self.rfile.readline().decode().rstrip():
                verb, _, rest = line.partition(" ")
                if verb.upper() == "AUTH":
                    seen.logins.append(base64.b64decode(rest.split()[-1]).decode())
                    known = seen.logins[-1] == f"\0{user}\0{password}"
                    self.wfile.write(b"235 welcome\r\n" if known else b"535 not " + rest.encode() + b"\r\n")
                    continue
                envelope[verb.upper()] = rest.partition("<")[2].partition(">")[0]
                if not self.answer(verb.upper()):
                    return
                if verb.upper() == "DATA" and "DATA" not in seen.answers:
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    seen.mails.append(Mail(envelope["MAIL"], envelope["RCPT"], "".join(lines)))
                    if not self.answer("."):
                        return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who hung up is no error."""

    with Server((host, 0), Handler) as server:
        seen.port = server.server_address[1]
        with serving(server):
            yield seen
