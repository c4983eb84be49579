"""What is written beside a fit is gone after it, and whoever works meanwhile is where it was."""

import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from ml.learning.scratch import scratch


def test_one_works_in_a_directory_that_is_removed_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = list(sys.path)
    with scratch():
        inside = Path.cwd()
        Path("log.tsv").write_text("1")
        assert str(tmp_path) in sys.path  # where modules beside a notebook are
    with pytest.raises(FileNotFoundError), scratch():
        Path("log.tsv").read_text()
    assert (Path.cwd(), sys.path) == (tmp_path, paths)
    assert inside != tmp_path and not inside.exists()
    assert list(tmp_path.iterdir()) == []


def test_threads_share_it_until_the_last_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entered, leave, seen = threading.Event(), threading.Event(), []

    def fit() -> None:
        with scratch():
            entered.set()
            leave.wait(10)
            seen.append((Path.cwd(), Path("first.tsv").read_text()))

    with scratch():
        Path("first.tsv").write_text("mine")
        other = threading.Thread(target=fit)
        other.start()
        assert entered.wait(10)
        here = Path.cwd()
    assert Path.cwd() == here  # the other is still at work
    leave.set()
    other.join()
    assert seen == [(here, "mine")]
    assert Path.cwd() == tmp_path and not here.exists()


def test_a_directory_that_is_gone_before_or_meanwhile_keeps_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the test's own end goes back from
    for before in (True, False):
        (tmp_path / "here").mkdir()
        os.chdir(tmp_path / "here")
        if before:
            (tmp_path / "here").rmdir()
        with scratch():
            Path("log.tsv").write_text("1")
            if not before:
                (tmp_path / "here").rmdir()
        assert Path.cwd() == Path(tempfile.gettempdir())
