"""dbt's manifest of production's last build, beside the lake's files: what another target's build defers to."""

import gzip

import duckdb

from ml import lake
from ml.lake.sql import text

PLACE = "state/manifest.json.gzip"  # not .gz, which DuckDB would compress once more


def keep(con: duckdb.DuckDBPyConnection, manifest: bytes) -> None:
    """Write the manifest, in the place of the one before.

    Raises:
        duckdb.Error: S3 does not take it.
    """
    content = gzip.compress(manifest, compresslevel=1, mtime=0)
    con.execute(f"copy (select $1::blob) to {text(_uri(con))} (format blob)", [content])


def read(con: duckdb.DuckDBPyConnection) -> bytes | None:
    """The manifest; None where production was not built yet, or by a release that kept none."""
    uri = _uri(con)
    # a pattern is looked up; a plain address is taken to be there
    if not con.execute("select file from glob(?) where file = ?", [f"{uri[:-1]}*", uri]).fetchall():
        return None
    ((content,),) = con.execute("select content from read_blob(?)", [uri]).fetchall()
    return gzip.decompress(content)


def _uri(con: duckdb.DuckDBPyConnection) -> str:
    return f"{lake.root(con)}/{PLACE}"
