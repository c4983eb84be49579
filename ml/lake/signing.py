"""A consumer's signature, with a key that stands in its home alone: who can write rows cannot make one of these."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from ml import lake
from ml.errors import TractError

SETTING = "TRACT_SIGNING_KEY"  # read by `tract connect`
LEAST = 32  # characters of a key


class SigningError(TractError):
    """The home's signing key cannot be made, read or taken; the message names its file."""


def file() -> Path:
    """Where the home's key is, beside the secrets."""
    return lake.home() / "secrets" / "signing_key"


def key() -> str:
    """The home's key; made when it is first asked for, for its owner alone.

    Raises:
        SigningError: It is empty, cut short, or can be neither read nor made.
    """
    try:
        if not file().exists():
            _write(secrets.token_hex(32))
        found = file().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SigningError(f"The signing key {file()} can be neither read nor made: {error}.") from None
    if len(found) < LEAST:
        raise SigningError(f"The signing key {file()} has {len(found)} characters, and needs {LEAST}: restore it.")
    return found


def take(given: str) -> None:
    """Make a key the home's, such as that of another home of the same consumer.

    Raises:
        SigningError: It is too short, or the home has another, by which versions may be signed.
    """
    if len(given) < LEAST:
        raise SigningError(f"{SETTING} has {len(given)} characters, and needs {LEAST}, such as `openssl rand -hex 32`.")
    if not file().exists():
        _write(given)
    if key() != given:
        raise SigningError(f"{file()} holds another key than {SETTING}. Remove that file first, if nobody needs it.")


def _write(content: str) -> None:
    """Write the file, unless another process was first: whole or not at all."""
    file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file().with_name(f".{file().name}.{os.getpid()}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    try:
        os.link(draft, file())
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def sign(said: Mapping[str, object]) -> str:
    """The signature of what a row says: HMAC-SHA-256 of it as JSON, in any order of its names."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"hmac-sha256:{hmac.new(key().encode(), text.encode(), hashlib.sha256).hexdigest()}"


def matches(said: Mapping[str, object], signature: str) -> bool:
    """Whether a signature was made of this with the home's key."""
    return hmac.compare_digest(sign(said).encode(), signature.encode())
