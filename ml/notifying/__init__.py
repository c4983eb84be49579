"""How a notice reaches its recipient: by a webhook or by mail. No address, URL or password is in any word of it.

What a server says is not repeated either: it may hold what it was sent.
"""

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from ml.errors import TractError

# What a server may take to answer; a sensor's tick asks several.
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What came of a try.

    Attributes:
        state: Whether it was taken, is refused for now or for good, or nobody can know.
        reason: Why not, in words; None where it was sent.
    """

    state: Literal["sent", "postponed", "undeliverable", "unclear"]
    reason: str | None = None


SENT = Answer("sent")


class RecipientError(TractError):
    """Nobody can be reached as things are set; the message names the variable, and not what it holds."""


def words(error: Exception) -> str:
    """An error of a connection, without what it was asked for: host, port and path may be secrets."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, socket.gaierror):
        return "the host is not found"
    if isinstance(error, ssl.SSLError):
        return "no TLS could be agreed on, or the certificate is not one to be trusted"
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return f"the connection failed ({type(error).__name__})"
