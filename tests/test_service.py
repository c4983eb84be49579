"""What runs Tract as a service: systemd reads the unit, and what the container copies is a whole project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVICE = ROOT / "docs" / "service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_unit_as_it_is(tmp_path: Path) -> None:
    unit = (SERVICE / "tract.service").read_text()
    started = re.search(r"^ExecStart=(\S+) (.*)$", unit, re.MULTILINE)
    assert started
    assert started[2] == "ui --foreground"
    (tmp_path / "tract.service").write_text(unit.replace(started[1], sys.executable).replace("User=tract", "User=root"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "tract.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert verified.stderr == ""
    assert verified.returncode == 0


@pytest.mark.slow
def test_what_the_container_copies_is_a_whole_project(tmp_path: Path) -> None:
    lines = (SERVICE / "Containerfile").read_text().replace("\\\n", "").splitlines()
    copied = [(words[:-1], words[-1]) for line in lines if line.startswith("COPY ") for words in [line.split()[1:]]]
    project = tmp_path / "project"
    project.mkdir()
    for sources, target in copied:
        for source in sources:
            if (ROOT / source).is_dir():
                assert source == target
                shutil.copytree(ROOT / source, project / target, ignore=shutil.ignore_patterns("__pycache__", "target"))
            else:
                shutil.copy(ROOT / source, project / target)
    tools = Path(sys.executable).parent
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path), "PYTHONPATH": str(project)}
    env |= {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "TRACT_HOME": str(tmp_path / "home")}

    def done(*command: str) -> str:
        ran = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    imported = "import ml, orchestration, dbt_project; print(ml.__file__)"
    assert done(sys.executable, "-c", imported) == f"{project}/ml/__init__.py\n"
    assert done("tract", "schema") == (ROOT / "docs" / "exposures.schema.json").read_text()
    done("dbt", "deps")
    assert "housing_features" in done("dbt", "ls", "--resource-type", "model")


def test_the_container_runs_what_systemd_runs() -> None:
    assert 'CMD ["sh", "-c", "tract connect && exec tract ui --foreground"]' in (SERVICE / "Containerfile").read_text()
