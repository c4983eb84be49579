"""Lakes for dbt to build, and what dbt said of them. Each dbt process takes 8 to 16 s of a core: they are shared.

All tests of a lake are one xdist group, so that one worker builds it. `built` (tests/conftest.py) is only read;
`worked` has learned and is built again and again; the rest have lakes of their own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ml import consumption, lake
from ml.manifest import read_exposures
from ml.records import followed
from orchestration.stack import postgres, s3, secrets
from tests.conftest import ROOT, cloned_lake, new_lake, run_dbt
from tests.ml.completed import consume_and_complete

Told = subprocess.CompletedProcess[str]
Home = Callable[[str], Path]

PUBLISHED = "Published features.housing_features@…; `tract status` says what comes of it."
NOT_PUBLISHED = "Not published: features.housing_features, because "


@contextmanager
def lake_of(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake of a home, entered by its one door."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        with lake.connect() as con:
            yield con


@contextmanager
def without_the_lake(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A plain DuckDB that can read S3 and knows of no lake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        with duckdb.connect(config=lake.config()) as con:
            con.execute("load httpfs")
            yield con


def said(told: Told) -> list[str]:
    """What dbt said, line by line, without the time of day."""
    return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line).strip() for line in told.stdout.splitlines()]


def about_publishing(told: Told) -> list[str]:
    """Its sentences, without the snapshots' numbers."""
    return [re.sub(r"@\d+", "@…", line) for line in said(told) if "ublished" in line]


def exports(home: Path) -> dict[str, str]:
    """Name → address of the exported files."""
    with lake_of(home) as con:
        found = con.execute("select file from glob(?)", [f"{lake.root(con)}/exports/*"]).fetchall()
    return {file.rsplit("/", 1)[1]: file for (file,) in found}


def rows_and_rows_in_files(home: Path) -> dict[str, tuple[int, int]]:
    """Of each table of the lake: its rows, and the rows of its parquet files on S3."""
    found = {}
    with lake_of(home) as con:
        place = con.execute("select data_path from ducklake_settings('lake')").fetchall()[0][0]
        assert place.startswith("s3://")
        tables = con.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'lake'",
        ).fetchall()
        for schema, table in tables:
            rows = con.execute(f'select count(*) from lake."{schema}"."{table}"').fetchall()[0][0]
            listed = con.execute("select data_file from ducklake_list_files('lake', ?, schema => ?)", [table, schema])
            files = [file for (file,) in listed.fetchall()]
            assert all(file.startswith(place) and file.endswith(".parquet") for file in files), files
            in_files = [
                con.execute("select num_rows from parquet_file_metadata(?)", [file]).fetchall()[0][0] for file in files
            ]
            found[f"{schema}.{table}"] = (rows, sum(in_files))
    return found


def publications_of(home: Path) -> list[dict[str, Any]]:
    """The ledger, in order."""
    with lake_of(home) as con:
        rows = con.execute("select * from lake.ops.publications order by snapshot_id")
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def invocation_of(home: Path) -> str:
    """The id of the home's last dbt invocation."""
    return str(json.loads((home / "target" / "run_results.json").read_text())["metadata"]["invocation_id"])


@pytest.fixture(scope="session")
def empty_home(parsed: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Makes homes in which nothing is: no secrets, no extensions."""

    def make(name: str) -> Path:
        home = tmp_path_factory.mktemp(name) / "home"
        (home / "target").mkdir(parents=True)
        shutil.copy(parsed, home / "target")
        return home

    return make


@pytest.fixture(scope="session")
def empty_lake(servers: Path, empty_home: Home) -> Home:
    """Makes homes with an empty lake."""
    return lambda name: new_lake(servers, empty_home(name))


@pytest.fixture
def unreachable(servers: Path, empty_home: Home) -> Home:
    """Makes homes whose secrets name S3, or Postgres, at a port where nothing listens."""

    def make(part: str) -> Path:
        home = empty_home(part)
        (home / "extensions").symlink_to(servers / "extensions")
        store, catalog = s3.address(servers), postgres.address(servers)
        if part == "s3":
            store = replace(store, endpoint="127.0.0.1:1")
        else:
            catalog = replace(catalog, port=1)
        secrets.write(home / "secrets", home / "extensions", store, catalog)
        return home

    return make


@dataclass(frozen=True)
class Build:
    """A build, and what stood on S3 and in the ledger after it."""

    told: Told
    invocation_id: str
    exports: dict[str, str]
    publications: list[dict[str, Any]]


def build(home: Path, *arguments: str, **settings: str) -> Build:
    told = run_dbt(home, "build", *arguments, project=ROOT, **settings)
    return Build(told, invocation_of(home), exports(home), publications_of(home))


@dataclass(frozen=True)
class Worked:
    """A lake that was built, learned from, and built again."""

    home: Path
    first: Build
    consumed: consumption.Consumption
    second: Build


@pytest.fixture(scope="session")
def worked(servers: Path, after_a_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Worked:
    home = cloned_lake(servers, after_a_build, tmp_path_factory.mktemp("worked") / "home")
    told = Told([], 0, (after_a_build / "said").read_text(), "")
    first = Build(told, invocation_of(home), exports(home), publications_of(home))
    (exposure,) = read_exposures(json.loads((home / "target" / "manifest.json").read_text()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        consumed = consume_and_complete(exposure, say=lambda sentence: None)
        with lake.connect() as con:
            followed.follow(con, [exposure])  # as Dagster's sensor does
    assert consumed is not None
    return Worked(home, first, consumed, build(home))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the dbt project, to be changed."""
    return copied(tmp_path)


def copied(place: Path) -> Path:
    copy = place / "project"
    # with times of their own: dbt's partial parsing takes a YAML file of a time that it has seen for the same file
    shutil.copytree(ROOT / "dbt_project", copy / "dbt_project", copy_function=shutil.copyfile)
    for name in ("dbt_project.yml", "profiles.yml", "packages.yml", "package-lock.yml"):
        shutil.copy(ROOT / name, copy)
    (copy / "dbt_packages").mkdir()
    (copy / "dbt_packages" / "tract").symlink_to(copy / "dbt_project" / "tract")  # as `dbt deps` does, in no time
    return copy


def allotments(place: Path) -> Path:
    """The project about allotments below an empty directory, made ready by `tract init`."""
    copy = place / "allotments"
    shutil.copytree(ROOT / "tests" / "second_project", copy)
    init = ["init", "--model", "harvests", "--key", "bed", "--target", "courgettes_kg", "--yes"]
    env = {**os.environ, "DBT_PROJECT_DIR": str(copy)}
    subprocess.run([sys.executable, "-m", "orchestration.commands", *init], cwd=ROOT, env=env, check=True)
    return copy


def with_packages(home: Path, project: Path) -> Path:
    """The home, when dbt has installed the project's packages."""
    ended = run_dbt(home, "deps", project=project)
    assert ended.returncode == 0, ended.stdout
    return home


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def environment(home: Path) -> dict[str, str]:
    """The environment in which run_dbt runs, for processes that it cannot start."""
    return {
        **os.environ,
        "TRACT_HOME": str(home),
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home / "logs"),
    }
