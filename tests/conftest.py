"""One real stack for the whole run, below a temporary directory, with ports of its own; and a fresh lake per test."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from pyarrow import fs

from orchestration import project as dbt_project
from orchestration import stack
from orchestration.stack import postgres, s3, secrets
from tests import forked

ROOT = Path(__file__).resolve().parents[1]
STACK = "TRACT_TEST_STACK"  # where xdist's workers find the stack that the first process started
LAKE = "lake"  # the file of a home that names its lake: its database, and its place in the bucket

Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


# A test that asks for one of these starts servers or dbt.
STARTERS = {"servers", "parsed", "dagster_target", "home", "repository", "manifest"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what is slow and what starts servers or dbt")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # groups take minutes, the others seconds: a group that comes last is waited for by the other worker
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
    if not config.getoption("--quick"):
        return
    quick: list[pytest.Item] = []
    rest: list[pytest.Item] = []
    for item in items:
        starts = STARTERS.intersection(getattr(item, "fixturenames", ()))
        (rest if starts or item.get_closest_marker("slow") else quick).append(item)
    items[:] = quick
    config.hook.pytest_deselected(items=rest)


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("TRACT_") and name != STACK]:
        del os.environ[name]  # nobody's own lake is touched
    for name in ("HOUSING_SOURCE", "HOUSING_NEW_REGION", "MLFLOW_TRACKING_URI", "DBT_PROJECT_DIR", "DBT_PROFILES_DIR"):
        os.environ.pop(name, None)
    os.environ["HOUSING_CANDIDATES"] = "ridge"  # learns in a second; the other has tests of its own
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
    if not hasattr(config, "workerinput"):
        dbt_project.install_packages()
        os.environ[STACK] = tempfile.mkdtemp(prefix="tract-tests-")
        os.environ["SCIKIT_LEARN_DATA"] = f"{os.environ[STACK]}/scikit_learn_data"
    os.environ["TRACT_HOME"] = str(Path(os.environ[STACK]) / "nobody")  # of a test that asks for no home


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (made := os.environ.pop(STACK, None)):
        stack.down(Path(made) / "home")
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> Path:
    """The home of the stack that all tests share; started by the first who asks."""
    home = Path(os.environ[STACK]) / "home"
    stack.up(home)
    return home


def once(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that xdist's workers share: filled by the first who asks for it, while the others wait."""
    place = Path(os.environ[STACK]) / name
    done = place.with_suffix(".made")
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not done.exists():
            make(place)
            done.touch()
    return place


def new_database(servers: Path, prefix: str, template: str = "template1") -> str:
    """Make a database on the shared Postgres, a copy of another to which nobody is connected; its name."""
    name = f"{prefix}_{uuid4().hex}"
    with closing(_postgres(postgres.address(servers))) as con, con.cursor() as cursor:
        cursor.execute(f"create database {name} template {template}")
    return name


def _postgres(at: secrets.Postgres) -> "psycopg2.extensions.connection":
    con = psycopg2.connect(host=at.host, port=at.port, user=at.user, password=at.password, dbname=at.database)
    con.autocommit = True
    return con


def new_lake(servers: Path, home: Path, root: Path | None = None) -> Path:
    """A home with a lake of its own, empty, on the shared servers: another catalog, another place in the bucket.

    Args:
        root: A directory for its files instead.
    """
    name = new_database(servers, "lake")
    if root is None:
        return enter(servers, home, name, f"s3://tract/{name}")
    for part in ("lake", "artifacts", "cards", "exports"):  # DuckDB makes none of these where the root is no bucket
        (root / part).mkdir(parents=True, exist_ok=True)
    return enter(servers, home, name, str(root))


def cloned_lake(servers: Path, of: Path, home: Path) -> Path:
    """A home with a lake of its own that has what another has, to which nobody is connected."""
    source = (of / LAKE).read_text()
    name = new_database(servers, "lake", source)
    bucket = objects(servers)
    if bucket.get_file_info(f"tract/{source}").type == fs.FileType.Directory:
        fs.copy_files(f"tract/{source}", f"tract/{name}", source_filesystem=bucket, destination_filesystem=bucket)
    with closing(_postgres(replace(postgres.address(servers), database=name))) as con, con.cursor() as cursor:
        for table, column in (("ducklake_metadata", "value"), ("ducklake_view", "sql")):
            cursor.execute(f"update {table} set {column} = replace({column}, %s, %s)", [source, name])
    for file in (of / "target").rglob("*.*"):  # what dbt compiled names places in the bucket
        copy = home / "target" / file.relative_to(of / "target")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            copy.write_bytes(file.read_bytes().replace(source.encode(), name.encode()))
    return enter(servers, home, name, f"s3://tract/{name}")


def objects(servers: Path) -> fs.S3FileSystem:
    """The shared S3."""
    store = s3.address(servers)
    return fs.S3FileSystem(
        access_key=store.key_id, secret_key=store.secret, endpoint_override=store.endpoint, scheme="http"
    )


def enter(servers: Path, home: Path, database: str, root: str) -> Path:
    """Make the home that enters a lake: its catalog on the shared Postgres, the root of its files."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "extensions").symlink_to(servers / "extensions")
    store = replace(s3.address(servers), root=root)
    catalog = replace(postgres.address(servers), database=database)
    secrets.write(home / "secrets", home / "extensions", store, catalog)
    (home / LAKE).write_text(root.rpartition("/")[2])
    return home


@pytest.fixture
def home(servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh lake, entered by `ml.lake` in this test and by the processes that it starts."""
    made = new_lake(servers, tmp_path / "home")
    monkeypatch.setenv("TRACT_HOME", str(made))
    return made


def run_dbt(home: Path, *arguments: str, project: Path = ROOT, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run dbt as a shell would, from the root of the project, against the lake of a home."""
    environment = {
        **os.environ,
        "TRACT_HOME": str(home),
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home / "logs"),
        **settings,
    }
    return forked.dbt(["--no-use-colors", *arguments], project, environment, seconds=300)


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as `dbt parse` leaves it, so that the dbt processes of these tests need not parse it again (5 s)."""

    def parse(place: Path) -> None:
        told = run_dbt(place, "parse")
        assert told.returncode == 0, told.stdout

    return once("parsed", parse) / "target" / "partial_parse.msgpack"


@pytest.fixture(scope="session")
def dagster_target() -> Path:
    """The folder `dbt` of a home as Dagster leaves it when it has read the project."""

    def read(place: Path) -> None:
        environment = {**os.environ, "TRACT_HOME": str(place)}
        read = [sys.executable, "-c", "from orchestration import project; project.manifest()"]
        subprocess.run(read, cwd=ROOT, env=environment, check=True, capture_output=True)

    return once("read_by_dagster", read) / "dbt"


@pytest.fixture(scope="session")
def after_a_build(servers: Path, parsed: Path) -> Path:
    """The home of a lake after one `dbt build` from nothing, to be cloned; `said` in it is what dbt printed."""

    def build(place: Path) -> None:
        (place / "target").mkdir(parents=True)
        shutil.copy(parsed, place / "target")
        told = run_dbt(new_lake(servers, place), "build")
        assert told.returncode == 0, told.stdout
        (place / "said").write_text(told.stdout)

    return once("after_a_build", build)


@pytest.fixture(scope="session")
def built(servers: Path, after_a_build: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake after one `dbt build` from nothing, with what dbt said; for tests that only read."""
    home = cloned_lake(servers, after_a_build, tmp_path_factory.mktemp("built") / "home")
    return home, (after_a_build / "said").read_text()
