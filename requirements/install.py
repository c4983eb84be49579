"""Makes .venv and installs there, with uv, what the locks of this folder name. `make` calls it before what needs it.

    python requirements/install.py [dev] [mlflow] [boosting] [leaderboard] [spark] [site] [rivals] [sail]
        [spark-server]

What .venv/installed says is there is not installed again: then this takes 0.1 s. Only the standard library is used, and
nothing newer than Python 3.6 outside quotes, so that an old Python says in a sentence that it is too old.
"""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

# How pip is told of an index, and what uv calls it: uv reads none of pip's settings.
PIP_AND_UV = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "default-timeout": "UV_HTTP_TIMEOUT"}

# What has an environment of its own below .venv: its lock, and its size on disk. MLflow's server wants an older pyarrow
# than .venv has; what makes the site needs nothing that is in there.
# Two contenders of the bench bring a world of their own.
# Servers of Spark Connect have other versions of its client, and what their tasks import.
APART = {
    "mlflow": ("mlflow-server", "870 MB"),
    "site": ("site", "190 MB"),
    "rivals": ("rivals", "840 MB"),
    "sail": ("sail", "730 MB"),
    "spark-server": ("spark-server", "480 MB"),
}
# Of these, nothing is beside us.
ALONE = ("site", "rivals", "sail", "spark-server")

VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


class InstallError(Exception):
    """A person mends this; the text says how."""


class Checkout:
    """A checkout of Tract, and the .venv in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.uv = self.venv / "bin" / "uv"
        self.stamp = self.venv / "installed"

    def installed(self) -> "dict[str, str]":
        """The stamp: the hash of each installed lock, and the place and the Python of .venv; empty without one."""
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def record(self, installed: "dict[str, str]") -> None:
        """Write the stamp."""
        self.stamp.write_text(json.dumps(installed, indent=2) + "\n")

    def fault(self) -> str:
        """Why .venv must be made afresh; empty when it need not be."""
        installed = self.installed()
        if not installed:
            return "no installation came to its end there"
        if installed.get("place") != str(self.venv):
            return f"it was made as {installed.get('place')}, and its programs name that place"
        try:
            version = subprocess.check_output([str(self.python), "-I", "-c", VERSION], encoding="utf-8").strip()
        except (OSError, subprocess.CalledProcessError):
            return "its Python does not start"
        if version != installed.get("python"):
            return f"it was made with Python {installed.get('python')}, which is {version} now"
        lowest, above = self.supported()
        if not lowest <= _numbers(version) < above:
            return f"its Python is {version}"
        if not self.uv.exists():
            return "uv is missing there"
        return ""

    def supported(self) -> "tuple[tuple[int, ...], tuple[int, ...]]":
        """The lowest Python, and the one that is too new: what pyproject.toml says as `>=3.11,<3.14`."""
        text = (self.root / "pyproject.toml").read_text(encoding="utf-8")
        ((lowest, above),) = re.findall(r'^requires-python = ">=([\d.]+),<([\d.]+)"$', text, re.MULTILINE)
        return _numbers(lowest), _numbers(above)

    def make(self) -> None:
        """Make .venv afresh, with nothing but pip, uv and setuptools.

        Raises:
            InstallError: This Python is too old or too new, or cannot make one.
        """
        version = ".".join(map(str, sys.version_info[:3]))
        lowest, above = self.supported()
        if not lowest <= _numbers(version) < above:
            raise InstallError(
                f"Tract needs Python {lowest[0]}.{lowest[1]} to {above[0]}.{above[1] - 1}, and {sys.executable} is "
                f"{version}. Name another: make PYTHON=python3.12."
            )
        _run([sys.executable, "-m", "venv", "--clear", str(self.venv)], "Python made no .venv")
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", *self.locks("install")], "pip did not install uv")
        self.record({"place": str(self.venv), "python": version})

    def install(self, extras: "list[str]") -> None:
        """Install run.lock, the locks of some extras, and this checkout, as far as they are not there.

        Raises:
            InstallError: .venv is a link to one that is not finished, or cannot be made or filled.
        """
        if self.venv.is_symlink():  # lent by another checkout: not ours to change
            if self.installed():
                return
            raise InstallError(
                f".venv is a link to {self.venv.resolve()}, where no installation came to its end: "
                "run `make install` where that is, or remove the link."
            )
        fault = self.fault()
        if fault:
            if self.venv.exists():
                _say(f"Making .venv afresh: {fault}.")
            self.make()
        installed = self.installed()
        wanted = {name: _digest(self.root / "requirements" / f"{name}.lock") for name in ["run", *extras]}
        missing = [name for name in wanted if installed.get(name) != wanted[name]]
        wanted["project"] = _digest(self.root / "pyproject.toml")
        if not missing and installed.get("project") == wanted["project"]:
            self.link_packages()
            return
        self.stamp.unlink()  # an installation that is killed leaves none: the next begins afresh
        try:
            if missing:
                _say(f"Installing {' and '.join(missing)}.lock into .venv.")
                # run.lock too: the others say only what they add to it
                self.uv_install(self.python, "--require-hashes", *self.locks("run", *extras))
            self.uv_install(self.python, "--no-deps", "--no-build-isolation", "--editable", str(self.root))
        except InstallError:
            self.record(installed)  # uv fetches everything before it changes anything
            raise
        self.record({**installed, **wanted})
        self.link_packages()

    def link_packages(self) -> None:
        """Let dbt link the package that packages.yml names, if it is not there: no network, it lies in here.

        The link is an absolute path, which in a copy of a checkout still leads to the first.
        """
        linked, package = self.root / "dbt_packages" / "tract", self.root / "dbt_project" / "tract"
        if package.exists() and linked.resolve() != package:
            dbt = [str(self.venv / "bin" / "dbt"), "--quiet", "deps", "--project-dir", str(self.root)]
            _run(dbt, "dbt did not link its packages")

    def install_apart(self, name: str) -> None:
        """Install one of APART in .venv/<name>."""
        lock_name, size = APART[name]
        installed = self.installed()
        wanted = _digest(self.root / "requirements" / f"{lock_name}.lock")
        if installed.get(lock_name) == wanted or self.venv.is_symlink():
            return
        lock = (self.root / "requirements" / f"{lock_name}.lock").read_text(encoding="utf-8")
        count = len(re.findall("^[a-z0-9._-]+.*==", lock, re.MULTILINE))
        _say(
            f"Installing {lock_name}.lock into .venv/{name}, once: {count} packages, {size} on disk. It may take "
            "many minutes where uv has to fetch them all."
        )
        place = self.venv / name
        _run([str(self.uv), "venv", "--quiet", "--clear", "--python", str(self.python), str(place)], "uv made no venv")
        locked = ["--require-hashes", *self.locks(lock_name)]
        self.uv_install(place / "bin" / "python", *locked, quiet=not sys.stderr.isatty())
        self.record({**installed, lock_name: wanted})

    def uv_install(self, python: Path, *arguments: str, quiet: bool = True) -> None:
        """Let uv install into the environment of a Python, from the index that pip is told of; its progress is shown
        where it is not to be quiet.

        Bytecode is compiled now, as pip does: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each process
        of dbt would compile its imports again, 1.4 s of a core.
        """
        _run(
            [
                *(str(self.uv), "pip", "install", *(["--quiet"] if quiet else [])),
                *("--compile-bytecode", "--python", str(python), *arguments),
            ],
            "uv did not install it; UV_DEFAULT_INDEX names another index, SSL_CERT_FILE a certificate of your own",
            **self.pip_settings(),
        )

    def pip_settings(self) -> "dict[str, str]":
        """What pip's files and environment say of the index, in uv's words."""
        command = [str(self.python), "-m", "pip", "config", "list"]
        lines = subprocess.check_output(command, encoding="utf-8").splitlines()  # such as global.cert='/etc/…'
        found = {}
        for line in sorted(lines, reverse=True):  # `:env:.cert` comes after `global.cert`, and wins
            name, _, value = line.partition("=")
            setting = PIP_AND_UV.get(name.rpartition(".")[2])
            if setting:
                found[setting] = str(ast.literal_eval(value))
        return found

    def locks(self, *names: str) -> "list[str]":
        """The arguments that name some locks."""
        return [word for name in names for word in ("-r", str(self.root / "requirements" / f"{name}.lock"))]


def _run(command: "list[str]", failed: str, **defaults: str) -> None:
    if subprocess.call(command, env={**defaults, **os.environ}):
        raise InstallError(f"{failed}: its own words are above.")


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _numbers(version: str) -> "tuple[int, ...]":
    return tuple(map(int, version.split(".")))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    checkout = Checkout(Path(__file__).resolve().parent.parent)
    try:
        checkout.install([name for name in sys.argv[1:] if name not in ALONE])
        for apart in APART:
            if apart in sys.argv[1:]:
                checkout.install_apart(apart)
    except InstallError as refusal:
        sys.exit(str(refusal))
