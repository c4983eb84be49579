"""A proxy on loopback between the product and S3, which does to requests what a test asks for."""

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedReader

# Of one piece that is passed on.
PIECE = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


@dataclass(frozen=True)
class Request:
    """What a client asks for, as far as faults tell requests apart."""

    method: str
    target: str
    number: int  # of all requests since the proxy began


@dataclass(frozen=True)
class Fault:
    """What is done to a request; nothing by default.

    Attributes:
        wait: Seconds before it is passed on.
        answer: A whole answer in the place of the server's: status and S3's code.
        upload: The share of a request's body that is passed on before the connection is reset.
        download: The share of an answer's body that is passed back before the connection ends.
    """

    wait: float = 0.0
    answer: tuple[int, str] | None = None
    upload: float | None = None
    download: float | None = None


NONE = Fault()


@dataclass
class Proxy:
    """A server of its own in threads; each connection has one to S3.

    Attributes:
        fault: Decides what is done to each request.
        done: How often something was done, by method.
    """

    server: tuple[str, int]
    fault: Callable[[Request], Fault] = lambda request: NONE
    done: Counter[str] = field(default_factory=Counter)
    asked: int = 0

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.lock = threading.Lock()
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Where it listens, for a secret of S3."""
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def close(self) -> None:
        """Listen no more: connections are refused."""
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while self.open:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self.server) as server:
                asking, answering = client.makefile("rb"), server.makefile("rb")
                while head := _head(asking):
                    method, target, _ = head.split(b" ", 2)
                    with self.lock:
                        self.asked += 1
                        request = Request(method.decode(), target.decode(), self.asked)
                        fault = self.fault(request)
                        if fault != NONE:
                            self.done[request.method] += 1
                    if not self._pass(client, server, asking, answering, request, head, fault):
                        return
        except OSError:
            return

    def _pass(
        self,
        client: socket.socket,
        server: socket.socket,
        asking: BufferedReader,
        answering: BufferedReader,
        request: Request,
        head: bytes,
        fault: Fault,
    ) -> bool:
        """Pass a request and its answer on; whether the connection may go on."""
        if fault.wait:
            threading.Event().wait(fault.wait)
        length = _length(head)
        if fault.answer:
            _copy(asking, None, length)
            status, code = fault.answer
            body = f"<Error><Code>{code}</Code><Message>{code} by the proxy</Message></Error>".encode()
            said = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(said.encode() + (b"" if request.method == "HEAD" else body))
            return True
        if b"100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        server.sendall(head)
        if fault.upload is not None and length:
            _copy(asking, server, int(length * fault.upload))
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        _copy(asking, server, length)
        answer = _head(answering)
        client.sendall(answer)
        if request.method == "HEAD" or answer.split(b" ")[1] in (b"204", b"304"):
            return True
        if b"transfer-encoding: chunked" in answer.lower():
            return _chunks(answering, client)
        length = _length(answer)
        if fault.download is not None and length:
            _copy(answering, client, int(length * fault.download))
            return False
        _copy(answering, client, length)
        return b"connection: close" not in answer.lower()


def _head(stream: BufferedReader) -> bytes:
    """Lines up to the empty one; nothing where the other side has ended."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _copy(source: BufferedReader, to: socket.socket | None, length: int) -> None:
    while length > 0:
        piece = source.read(min(PIECE, length))
        if not piece:
            raise OSError("the other side has ended")
        length -= len(piece)
        if to is not None:
            to.sendall(piece)


def _chunks(source: BufferedReader, to: socket.socket) -> bool:
    while line := source.readline():
        to.sendall(line)
        size = int(line.split(b";")[0], 16)
        _copy(source, to, size + 2)
        if size == 0:
            return True
    return False


def sometimes(share: float, seed: int, fault: Fault, methods: tuple[str, ...] = ()) -> Callable[[Request], Fault]:
    """The fault for a share of requests, drawn by a seed; of some methods, where they are given."""
    drawn = random.Random(seed)
    return lambda request: fault if (not methods or request.method in methods) and drawn.random() < share else NONE
