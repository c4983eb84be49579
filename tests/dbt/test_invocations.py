"""What people do every day: a notebook that builds, an editor that previews, a build of a part of the rows."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_dbt
from tests.dbt.conftest import Home, about_publishing, allotments, environment, lake_of, publications_of, with_packages

pytestmark = pytest.mark.xdist_group("dbt invocations")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project about allotments, made ready, with its table built incrementally."""
    copy = allotments(tmp_path_factory.mktemp("invocations"))
    model = copy / "models" / "harvests.sql"
    model.write_text(
        model.read_text().replace(
            "config(alias='bed_harvests')",
            "config(alias='bed_harvests', materialized='incremental', on_schema_change='append_new_columns')",
        )
        + "{% if is_incremental() %} where bed not in (select bed from {{ this }}) {% endif %}\n"
    )
    beds = copy / "models" / "beds.sql"
    beds.write_text(beds.read_text().replace("range(600)", "range({{ env_var('BEDS', '600') }})"))
    return copy


@pytest.fixture(scope="module")
def home(empty_lake: Home, project: Path) -> Path:
    return with_packages(empty_lake("invocations"), project)


def published(home: Path, project: Path, *arguments: str, **settings: str) -> list[str]:
    """What dbt says of publishing, less the numbers of snapshots."""
    return about_publishing(run_dbt(home, "build", *arguments, project=project, **settings))


YES = "Published soil.bed_harvests@…; `tract status` says what comes of it."


def test_an_incremental_build_without_new_rows_publishes_what_it_tested(home: Path, project: Path) -> None:
    assert published(home, project) == [YES]
    assert published(home, project) == [YES]
    first, second = publications_of(home)[-2:]
    assert first["fingerprint"] == second["fingerprint"]
    assert published(home, project, BEDS="700") == [YES]
    assert publications_of(home)[-1]["row_count"] == 700


def test_a_build_of_a_part_of_the_rows_is_not_published(home: Path, project: Path) -> None:
    no = "Not published: soil.bed_harvests, because it was built with {}, which leaves rows out."
    assert published(home, project, "--empty") == [no.format("--empty")]
    assert published(home, project, "--sample", "1 day") == [no.format("--sample")]
    bounds = ("--event-time-start", "2026-01-01", "--event-time-end", "2026-01-02")
    assert published(home, project, *bounds) == [no.format("--event-time-start and --event-time-end")]


def test_rows_that_cannot_be_learned_from_are_said_by_the_build(home: Path, project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "allotments"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))
    run_dbt(home, "deps", project=copy)
    (copy / "models" / "harvests.yml").write_text(
        re.sub(
            r"(courgettes_kg, data_type: double), data_tests: \[not_null\]",
            r"\1",
            (copy / "models" / "harvests.yml").read_text(),
        )
    )
    model = copy / "models" / "harvests.sql"
    said = model.read_text()
    model.write_text(said.replace("cast(0.4", "case when sun_hours > 99 then 1 end * cast(0.4"))
    assert published(home, copy, "--full-refresh") == [
        "Not published: soil.bed_harvests, because harvests_courgettes_kg cannot learn from it: courgettes_kg, the "
        "target, is missing in all of 600 rows: nothing is there to learn from."
    ]
    model.write_text(said.replace("cast(0.4", "case when sun_hours > 1 then 1 end * cast(0.4"))
    (sentence,) = published(home, copy, "--full-refresh")
    assert re.fullmatch(
        re.escape(YES) + r" Mind, harvests_courgettes_kg: \d+ of 600 rows have no courgettes_kg, the target: they are "
        r"predicted, and not learned from\.",
        sentence,
    )


NOTEBOOK = """
import json, sys
from dbt.cli.main import dbtRunner
from ml.lake import locks

def held():
    holder = locks.holder("build")
    return holder[0] if holder else None

runner, seen = dbtRunner(), []
for command in json.loads(sys.argv[1]):
    ended = runner.invoke(["--quiet", *command])
    seen.append([ended.success, held()])
    if not ended.success:
        print(command, repr(ended.exception), ended.result)
print(json.dumps(seen))
"""


def test_a_notebook_gives_the_lock_back_after_each_of_its_builds(home: Path, project: Path) -> None:
    commands = [["compile"], ["build"], ["build", "--select", "no_such_model"], ["run"], ["parse"]]
    ended = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, json.dumps(commands)],
        cwd=project,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=400,  # only ends a hang
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [[True, None]] * 5, ended.stdout


def test_a_notebook_s_second_build_waits_for_who_builds_meanwhile(home: Path, project: Path) -> None:
    script = """
from dbt.cli.main import dbtRunner
from ml.lake import locks

runner = dbtRunner()
assert runner.invoke(["--quiet", "compile"]).success
with locks.lock("build"):
    ended = runner.invoke(["build"])
print("refused" if not ended.success else "two writers at once")
ended = runner.invoke(["--quiet", "build"])
print("built" if ended.success else "says for ever what it said once")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        env={**environment(home), "TRACT_LOCK_TIMEOUT": "0.5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "The lock 'build' was not free within 0.5 s" in ended.stdout
    assert [line for line in ended.stdout.splitlines() if line in ("refused", "built")] == ["refused", "built"], ended


def test_an_editor_that_opens_the_adapter_reads_and_holds_no_lock(home: Path, project: Path) -> None:
    script = """
from argparse import Namespace
from dbt.adapters.factory import get_adapter, register_adapter, reset_adapters
from dbt.config.runtime import RuntimeConfig
from dbt.flags import set_from_args
from dbt.mp_context import get_mp_context
from ml.lake import locks

args = Namespace(project_dir=".", profiles_dir=".", profile=None, target=None, vars={}, threads=1, WHICH="run",
                 which="run", PROJECT_DIR=".")
set_from_args(args, None)
config = RuntimeConfig.from_args(args)
register_adapter(config, get_mp_context())
adapter = get_adapter(config)
with locks.lock("build"):
    with adapter.connection_named("preview"):
        _, table = adapter.execute("select count(*) from lake.soil.beds", fetch=True)
        print("previewed", table.rows[0][0] > 0)
with adapter.connection_named("preview"):
    print("held by", locks.holder("build"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=environment(home), capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-2:] == ["previewed True", "held by None"], ended


def test_a_lake_that_comes_up_between_two_invocations_is_entered(home: Path, project: Path, tmp_path: Path) -> None:
    script = f"""
import os
from dbt.cli.main import dbtRunner

os.environ["TRACT_HOME"] = {str(tmp_path / "down")!r}
runner = dbtRunner()
first = runner.invoke(["build"])
os.environ["TRACT_HOME"] = {str(home)!r}
print(first.success, runner.invoke(["--quiet", "build"]).success)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=environment(home), capture_output=True, text=True, check=False
    )
    assert "The lake is not up" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "False True", ended


def test_the_lake_of_this_module_has_the_rows_that_it_says(home: Path, project: Path) -> None:
    with lake_of(home) as con:
        assert con.execute("select count(distinct bed) = count(*) from lake.soil.bed_harvests").fetchall() == [(True,)]
