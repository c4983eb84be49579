"""Spark's own cluster on loopback: the whole product goes through it, and parts of it are killed in the middle."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import duckdb
import pandas as pd
import psutil
import pytest

from ml import consumption
from ml.exposures import Exposure
from ml.manifest import read_exposures
from ml.records import predictions, publications, versions
from ml.spark import session
from tests.bench import table
from tests.conftest import new_lake
from tests.dbt.conftest import lake_of, publications_of
from tests.ml.rows import silent
from tests.spark import servers as engines
from tests.spark.processes import dbt
from tests.spark.servers import Cluster
from tests.warehouse import FEATURES, NAME, running

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.spark,
    pytest.mark.xdist_group("spark cluster"),
    pytest.mark.slow,
]

ROWS = 1_000_000
MANY_ROWS = 5_000_000
WITHOUT = ("--exclude-resource-type", "unit_test", "--indirect-selection", "buildable")
BUILD = ("build", "--select", "housing_features", *WITHOUT)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with engines.cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def engine(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session.REMOTE, cluster.connect.address)


def landed(rows: int, folder: Path) -> str:
    """A file of generated rows."""
    table.write(rows, folder / "noisy.parquet")
    with duckdb.connect() as con:  # the census' cap, which a test of the features knows
        capped = f"select * replace (least(MedHouseVal, 5.00001) as MedHouseVal) from '{folder}/noisy.parquet'"
        con.execute(f"copy ({capped}) to '{folder}/source.parquet'")
    return str(folder / "source.parquet")


@pytest.fixture(scope="module")
def large(servers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a lake on disk in which rows have landed; `disk` beside it has its files."""
    folder = tmp_path_factory.mktemp("large")
    home = new_lake(servers, folder / "home", folder / "disk")
    told = dbt(home, "build", "--select", "+stg_housing", *WITHOUT, HOUSING_SOURCE=landed(ROWS, folder))
    assert told.returncode == 0, told.stdout
    return home


@pytest.fixture
def built(large: Path) -> Path:
    """Its features are built and published, by the test before this one or here."""
    if not publications_of(large):
        told = dbt(large, *BUILD)
        assert told.returncode == 0, told.stdout
    return large


def exposure_of(home: Path) -> Exposure:
    """The exposure, as dbt's last command in a home read it."""
    (exposure,) = read_exposures(json.loads((home / "target" / "manifest.json").read_text()))
    return exposure


def features(home: Path) -> pd.DataFrame:
    with lake_of(home) as con:
        return con.execute(f"from lake.{FEATURES} order by block_group_id").df()


def predicted(home: Path, publication_id: str) -> tuple[pd.DataFrame, str]:
    """What the champion predicts of a publication, and what read the rows from which it learned."""
    with lake_of(home) as con:
        ((version,),) = con.execute(
            "select version_id from lake.ops.consumptions where publication_id = ?", [publication_id]
        ).fetchall()
        row = versions.row(con, NAME, version)
        found = predictions.of_version(con, exposure_of(home), publication_id, version)
    return found, row["parameters"].get("engine", "duckdb")


@pytest.mark.parametrize("rows", [20_640, MANY_ROWS])
def test_the_whole_product_goes_through_the_cluster(
    servers: Path, parsed: Path, dagster_target: Path, cluster: Cluster, tmp_path: Path, rows: int
) -> None:
    """Built, tested and published; learned and predicted by the run that this starts; equal to what DuckDB makes."""
    source = landed(rows, tmp_path) if rows == MANY_ROWS else ""  # scikit-learn's own
    (tmp_path / "disk" / "cards" / NAME).mkdir(parents=True)  # no bucket: DuckDB makes no directory
    settings = {"TRACT_SPARK": cluster.connect.address, "HOUSING_SOURCE": source}
    with running(servers, parsed, dagster_target, tmp_path, tmp_path / "disk", **settings) as warehouse:
        there = warehouse.home
        told = dbt(there, "build")
        assert told.returncode == 0, told.stdout
        assert f"Spark made {rows:,} rows of {FEATURES} row by row in tasks" in told.stdout
        assert f"Spark made the fingerprint of {FEATURES}." in told.stdout
        (published,) = publications_of(there)
        found = warehouse.consumption(published["publication_id"])
        assert found["outcome"] == "trained"
        assert [run.dagster_run.is_success for run in warehouse.settled(published["publication_id"])] == [True]
        told = dbt(there, "build", "--exclude", "+housing_features")  # the marts, of the predictions
        assert told.returncode == 0, told.stdout
        told = dbt(there, "test")
        assert told.returncode == 0, told.stdout
    here = new_lake(servers, tmp_path / "here", tmp_path / "disk here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(here))
        patch.delenv(session.REMOTE)
        told = dbt(here, "build", "--select", "+housing_features", *WITHOUT, HOUSING_SOURCE=source)
        assert told.returncode == 0, told.stdout
        assert consumption.consume(exposure_of(here), say=silent) is not None
    (of_duckdb,) = publications_of(here)
    assert published["fingerprint"] == of_duckdb["fingerprint"]
    pd.testing.assert_frame_equal(features(there), features(here), rtol=1e-12)
    of_spark, engine = predicted(there, published["publication_id"])
    assert engine == "spark"
    of_duckdb_s, engine = predicted(here, of_duckdb["publication_id"])
    assert engine == "duckdb"
    assert len(of_spark) == rows
    # of 5,000,000 predictions, some are a few dollars: sums in another order leave 1e-8 of one
    spread = float(of_duckdb_s["prediction"].std())
    pd.testing.assert_frame_equal(of_spark, of_duckdb_s, rtol=1e-9, atol=1e-9 * spread)


@contextmanager
def while_writing(home: Path, relation: str, do: Callable[[], None]) -> Iterator[None]:
    """Do something once a task of the engine has begun to write rows of a relation; it must have come to that."""
    place, done = home.parent / "disk" / "lake" / Path(*relation.split(".")), []
    before = set(place.glob("*"))

    def watch() -> None:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if any(new for new in place.glob("*/_temporary/*/_temporary/*/*.parquet") if new.parents[4] not in before):
                do()
                done.append(True)
                return
            time.sleep(0.01)

    watcher = Thread(target=watch)
    watcher.start()
    yield
    watcher.join()
    assert done


def kill(executors: list[psutil.Process]) -> None:
    """SIGKILL executors and their workers of Python's."""
    for executor in executors:
        with suppress(psutil.NoSuchProcess):
            for process in [*executor.children(recursive=True), executor]:
                process.kill()


def kill_the_engine(cluster: Cluster) -> None:
    """The executors first: one that outlives its server by a moment takes back what it wrote."""
    kill(cluster.executors())
    cluster.connect.kill()


def rows_of(home: Path, relation: str, key: str) -> tuple[int, int]:
    with lake_of(home) as con:
        ((rows, keys),) = con.execute(f"select count(*), count(distinct {key}) from lake.{relation}").fetchall()
    return rows, keys


def test_an_executor_that_is_killed_while_it_builds_leaves_every_row_once(large: Path, cluster: Cluster) -> None:
    with while_writing(large, FEATURES, lambda: kill(cluster.executors()[:1])):
        told = dbt(large, *BUILD)
    assert told.returncode == 0, told.stdout
    assert f"Spark made {ROWS:,} rows of {FEATURES} row by row in tasks" in told.stdout
    assert rows_of(large, FEATURES, "block_group_id") == (ROWS, ROWS)
    *_, published = publications_of(large)
    with lake_of(large) as con:
        at = f"lake.{FEATURES} as published at (version => {published['snapshot_id']})"
        fingerprint, count = con.execute(publications.fingerprint_sql(at)).fetchall()[0]
    assert (published["fingerprint"], published["row_count"]) == (fingerprint, count)


def test_an_executor_that_is_killed_while_it_predicts_leaves_every_row_once(
    built: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, published = publications_of(built)
    monkeypatch.setenv("TRACT_HOME", str(built))
    with while_writing(built, "ml.predictions", lambda: kill(cluster.executors()[:1])):
        found = consumption.consume(exposure_of(built), say=silent)
    assert found is not None
    assert (found.publication.publication_id, found.predicted_rows) == (published["publication_id"], ROWS)
    assert rows_of(built, "ml.predictions", "block_group_id") == (ROWS, ROWS)


def test_a_server_that_is_killed_while_it_builds_publishes_nothing(built: Path, cluster: Cluster) -> None:
    """With all who work for it; the next build works, and maintenance finds what lies about."""
    before = publications_of(built)
    with while_writing(built, FEATURES, lambda: kill_the_engine(cluster)):
        told = dbt(built, *BUILD)
    assert told.returncode == 1
    assert f"The engine at {cluster.connect.address} is gone, or went while it worked: " in told.stdout
    assert f"Not published: {FEATURES}, because its model failed: The engine at" in told.stdout
    assert "Traceback" not in told.stdout
    assert publications_of(built) == before
    assert rows_of(built, FEATURES, "block_group_id") == (ROWS, ROWS)
    cluster.start()
    told = dbt(built, *BUILD)
    assert told.returncode == 0, told.stdout
    assert len(publications_of(built)) == len(before) + 1
    assert rows_of(built, FEATURES, "block_group_id") == (ROWS, ROWS)
    with lake_of(built) as con:
        ((orphans,),) = con.execute(
            "select count(*) from ducklake_delete_orphaned_files('lake', dry_run => true, cleanup_all => true) "
            "where path like '%/housing_features/%'"
        ).fetchall()
    assert orphans > 0
