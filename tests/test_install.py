"""`requirements/install.py` makes .venv and mends it: here of a small checkout, from wheels of what is installed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from requirements.install import Checkout
from tests.conftest import ROOT

PYTHON = ".".join(map(str, sys.version_info[:3]))
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "small"
version = "1"
requires-python = ">=3.11,<3.14"

[tool.setuptools]
py-modules = ["small"]
"""


def wheel_of(name: str, folder: Path) -> str:
    """Make a wheel of an installed distribution, not compressed; the line of a lock that names it."""
    installed = distribution(name)
    (tag,) = re.findall(r"^Tag: (\S+)", str(installed.read_text("WHEEL")), re.MULTILINE)[:1]
    wheel = folder / f"{name}-{installed.version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in installed.files or ():
            if file.parts[-2:-1] == ("bin",):
                archive.write(str(file.locate()), f"{name}-{installed.version}.data/scripts/{file.name}")
            elif file.suffix != ".pyc":
                archive.write(str(file.locate()), str(file))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"--no-index\n--find-links {folder}\n{name}=={installed.version} --hash=sha256:{digest}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout whose locks name nothing, with the real installer."""
    root = tmp_path / "checkout"
    (root / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "requirements" / "install.py", root / "requirements")
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "small.py").write_text("answer = 42\n")
    for name in ("install", "run", "dev"):
        (root / "requirements" / f"{name}.lock").write_text("")
    return root


def install(root: Path, *extras: str) -> "subprocess.CompletedProcess[str]":
    """Run the installer as make does, with no index and no settings of a person's own."""
    return subprocess.run(
        [sys.executable, "requirements/install.py", *extras],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(root), "UV_NO_CACHE": "1", "PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def finished(root: Path, **stamp: str) -> Checkout:
    """A .venv as an installation leaves it, as far as `fault` looks."""
    checkout = Checkout(root)
    checkout.python.parent.mkdir(parents=True)
    checkout.python.symlink_to(sys.executable)
    checkout.uv.touch()
    checkout.record({"place": str(checkout.venv), "python": PYTHON, **stamp})
    return checkout


@pytest.mark.slow
def test_a_half_made_venv_and_a_moved_checkout_are_mended(root: Path, tmp_path: Path) -> None:
    locks = root / "requirements"
    (locks / "install.lock").write_text(wheel_of("uv", tmp_path) + wheel_of("setuptools", tmp_path))
    (locks / "dev.lock").write_text(wheel_of("iniconfig", tmp_path))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)

    half_made = install(root)

    assert half_made.returncode == 0, half_made.stderr
    assert half_made.stdout.splitlines() == [
        "Making .venv afresh: no installation came to its end there.",
        "Installing run.lock into .venv.",
    ]
    assert imported(root, "small") == f"{root}/small.py"
    assert imported(root, "iniconfig") == ""

    moved = root.rename(tmp_path / "moved")
    mended = install(moved, "dev")

    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.splitlines() == [
        f"Making .venv afresh: it was made as {root}/.venv, and its programs name that place.",
        "Installing run and dev.lock into .venv.",
    ]
    assert imported(moved, "small") == f"{moved}/small.py"
    assert imported(moved, "iniconfig").startswith(f"{moved}/.venv/")
    assert (moved / ".venv" / "bin" / "pip").read_text().startswith(f"#!{moved}/.venv/bin/python")

    (moved / "requirements" / "mlflow.lock").write_text("")
    shutil.copy(moved / "requirements" / "dev.lock", moved / "requirements" / "mlflow-server.lock")
    server = install(moved, "mlflow")

    assert server.returncode == 0, server.stderr
    assert server.stdout.splitlines() == [
        "Installing mlflow.lock into .venv.",
        "Installing mlflow-server.lock into .venv/mlflow, once: 1 packages, 870 MB on disk. It may take many minutes "
        "where uv has to fetch them all.",
    ]
    assert server.stderr == ""  # nobody looks: uv's progress is for terminals
    assert list((moved / ".venv" / "mlflow").glob("lib/python*/site-packages/iniconfig"))

    shutil.copy(moved / "requirements" / "dev.lock", moved / "requirements" / "site.lock")
    site = install(moved, "site")

    assert (site.returncode, site.stderr) == (0, "")
    assert site.stdout.startswith("Installing site.lock into .venv/site, once: 1 packages, 190 MB on disk.")
    assert list((moved / ".venv" / "site").glob("lib/python*/site-packages/iniconfig"))

    for extras in ([], ["dev"], ["mlflow"], ["site"]):  # neither makes the other stale
        again = install(moved, *extras)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def imported(root: Path, module: str) -> str:
    """The file of a module in the .venv of a checkout, empty when it is not there."""
    find = f"from importlib.util import find_spec; found = find_spec({module!r}); print(found.origin if found else '')"
    told = subprocess.run(
        [root / ".venv" / "bin" / "python", "-c", find], cwd=root.parent, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def test_a_sound_venv_has_no_fault(root: Path) -> None:
    assert finished(root).fault() == ""


def test_a_venv_without_a_stamp_is_not_finished(root: Path) -> None:
    checkout = finished(root)
    checkout.stamp.write_text("")
    assert checkout.fault() == "no installation came to its end there"


def test_a_python_that_is_gone_is_a_fault(root: Path) -> None:
    checkout = finished(root)
    checkout.python.unlink()
    checkout.python.symlink_to(root / "gone")
    assert checkout.fault() == "its Python does not start"


def test_a_python_that_was_upgraded_beneath_is_a_fault(root: Path) -> None:
    assert finished(root, python="3.11.0rc1").fault() == f"it was made with Python 3.11.0rc1, which is {PYTHON} now"


def test_a_python_that_the_project_left_behind_is_a_fault(root: Path) -> None:
    (root / "pyproject.toml").write_text(PROJECT.replace(">=3.11,<3.14", ">=3.20,<3.21"))
    assert finished(root).fault() == f"its Python is {PYTHON}"


def test_a_venv_without_uv_is_a_fault(root: Path) -> None:
    checkout = finished(root)
    checkout.uv.unlink()
    assert checkout.fault() == "uv is missing there"


def test_a_python_that_is_too_old_is_named_before_anything_is_made(root: Path) -> None:
    (root / "pyproject.toml").write_text(PROJECT.replace(">=3.11,<3.14", ">=3.20,<3.22"))
    told = install(root)
    assert told.returncode == 1
    assert told.stderr == (
        f"Tract needs Python 3.20 to 3.21, and {sys.executable} is {PYTHON}. Name another: make PYTHON=python3.12.\n"
    )
    assert not (root / ".venv").exists()


def test_a_venv_of_another_checkout_is_left_as_it_is(root: Path, tmp_path: Path) -> None:
    lent = finished(tmp_path / "lender")
    before = lent.stamp.read_text()
    (root / ".venv").symlink_to(lent.venv)
    told = install(root, "dev")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert lent.stamp.read_text() == before

    lent.stamp.unlink()
    told = install(root, "dev")
    assert told.returncode == 1
    assert told.stderr == (
        f".venv is a link to {lent.venv}, where no installation came to its end: "
        "run `make install` where that is, or remove the link.\n"
    )


def test_what_cannot_be_installed_leaves_what_was_there(root: Path) -> None:
    checkout = finished(root)
    checkout.uv.unlink()
    checkout.uv.symlink_to("/bin/false")  # as uv without a network: nothing was changed
    before = checkout.stamp.read_text()
    told = install(root)
    assert told.returncode == 1
    assert told.stderr == (
        "uv did not install it; UV_DEFAULT_INDEX names another index, SSL_CERT_FILE a certificate of your own: "
        "its own words are above.\n"
    )
    assert checkout.stamp.read_text() == before


def test_uv_is_told_what_pip_is_told(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://mirror.example/simple\ncert = /mirror.pem\n[list]\nformat = columns\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/own.pem")
    settings = finished(root).pip_settings()
    assert settings["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert settings["SSL_CERT_FILE"] == "/own.pem"


LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.stem for lock in LOCKS])
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    pins = re.findall(r"^\S+==.*\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert pins
    assert "".join(pins) == text


def test_users_do_not_get_the_tools_of_developers() -> None:
    pinned = {
        lock.stem: set(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==", lock.read_text(), re.MULTILINE)) for lock in LOCKS
    }
    tools = {"playwright", "polars", "sqlfluff", "duckdb-cli", "pytest", "mypy", "nbclient", "ruff", "s3fs"}
    assert tools <= pinned["dev"]
    assert not tools & pinned["run"]
    assert pinned["install"] == {"uv", "setuptools"}
    for added in ("dev", "mlflow", "boosting", "leaderboard"):
        assert not pinned[added] & pinned["run"]
