"""A home's key is made once, for its owner alone; a signature holds for what it was made of and for nothing else."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.lake import signing
from ml.lake.signing import SigningError

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ROWS = st.dictionaries(st.text(min_size=1), VALUES | st.lists(VALUES, max_size=3), min_size=1, max_size=5)
Changed = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_key_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        made = signing.key()
    finally:
        os.umask(before)
    assert len(made) == 64
    assert signing.key() == made
    assert stat.S_IMODE((home / "secrets" / "signing_key").stat().st_mode) == 0o600
    assert [file.name for file in (home / "secrets").iterdir()] == ["signing_key"]


def test_of_two_who_make_it_at_once_both_have_the_same() -> None:
    barrier, found = Barrier(8), []

    def make() -> None:
        barrier.wait()
        found.append(signing.key())

    threads = [Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.data())
def test_another_row_has_another_signature(row: dict[str, Any], data: st.DataObject) -> None:
    signature = signing.sign(row)
    assert signing.matches(dict(reversed(row.items())), signature)
    name = data.draw(st.sampled_from(sorted(row)))
    assert not signing.matches({**row, name: [row[name]]}, signature)
    assert not signing.matches({other: value for other, value in row.items() if other != name}, signature)
    assert not signing.matches(row, signature[:-1] + ("0" if signature[-1] != "0" else "1"))
    assert not signing.matches(row, "")


def test_another_key_does_not_take_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    signature, key = signing.sign({"a": 1}), signing.key()
    monkeypatch.setenv("TRACT_HOME", str(tmp_path / "other"))
    assert not signing.matches({"a": 1}, signature)
    monkeypatch.setenv("TRACT_HOME", str(tmp_path / "a second home of the same consumer"))
    signing.take(key)
    assert signing.matches({"a": 1}, signature)
    signing.take(key)
    with pytest.raises(SigningError, match=r"signing_key holds another key than TRACT_SIGNING_KEY"):
        signing.take(key[::-1])


def test_a_key_that_is_none_is_said(home: Path) -> None:
    with pytest.raises(SigningError, match=r"^TRACT_SIGNING_KEY has 6 characters, and needs 32"):
        signing.take("secret")
    signing.key()
    signing.file().write_text("")
    with pytest.raises(SigningError, match="signing_key has 0 characters, and needs 32: restore it"):
        signing.sign({"a": 1})
    signing.file().write_bytes(b"\xff" * 64)
    with pytest.raises(SigningError, match="can be neither read nor made"):
        signing.key()
