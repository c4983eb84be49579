"""A project that is not about houses, made Tract's by the commands of docs/your-own.md, word by word."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import lake, serving
from tests.conftest import ROOT

pytestmark = [pytest.mark.xdist_group("second project"), pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    copy = tmp_path_factory.mktemp("second") / "allotments"
    shutil.copytree(ROOT / "tests" / "second_project", copy)
    yield copy
    run(copy, "tract down")


def commands() -> list[str]:
    """The commands of the page, in order."""
    page = (ROOT / "docs" / "your-own.md").read_text()
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def run(project: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """A command as a shell runs it in the project's folder, nothing set but the PATH."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("TRACT_", "DBT_", "HOUSING_"))}
    programs = project.parent / "bin"
    programs.mkdir(exist_ok=True)
    script = programs / "tract"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestration.commands "$@"\n')
    script.chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        shell=True,
        cwd=project,
        env={**mine, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def said(project: Path) -> dict[str, str]:
    """What each command said, in the order of the page; `tract down` comes in the end."""
    outputs = {}
    for command in commands():
        if command == "tract down":
            continue
        ended = run(project, command)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        outputs[command] = ended.stdout
    return outputs


def test_the_page_has_the_commands(said: dict[str, str]) -> None:
    assert [command.split(" --")[0] for command in said] == [
        "tract init",
        "dbt deps",
        "tract up",
        "dbt build",
        "tract run",
        "tract status",
    ]


def test_a_build_publishes_its_table_under_its_alias_and_schema(said: dict[str, str]) -> None:
    assert re.search(r"Published soil\.bed_harvests@\d+", said["dbt build"])


def test_the_run_learns_and_shows_the_project_s_own_model_and_predictions(said: dict[str, str]) -> None:
    shown = said["tract run"]
    assert re.search(r"harvests_courgettes_kg: champion [0-9a-f]{12}", shown)
    assert "courgettes_kg" in shown
    assert "bed-000" in shown
    assert "hous" not in shown.lower()


def test_status_names_project_s_exposure_and_what_came_of_its_builds(said: dict[str, str]) -> None:
    assert re.search(r"soil\.bed_harvests@\d+ +600 ", said["tract status"])
    assert re.search(r"harvests_courgettes_kg +[0-9a-f]{12} +(ridge|gradient_boosting) ", said["tract status"])
    assert "harvests_courgettes_kg: unchanged" in said["tract status"]


def test_the_champion_predicts_what_made_the_harvest(project: Path, said: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(project / ".lake"))
        with lake.connect() as con:
            beds = con.sql(
                """
                select 5.0 as sun_hours, 20.0 as compost_litres, 'peat' as "Boden, von Auge", true as "In the shade?",
                    null as "order"
                """
            ).df()
            predicted = serving.predict(con, "harvests_courgettes_kg", beds)
            rows = con.sql("select count(*) from lake.ml.predictions").fetchall()
    assert predicted["prediction"][0] == pytest.approx(0.4 * 5 + 0.1 * 20 + 0.5, abs=0.1)
    assert rows == [(600,)]
