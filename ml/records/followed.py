"""Who is followed: ops.followed, a row per exposure and revision that a sensor began to look for."""

from collections.abc import Sequence

import duckdb

from ml.exposures import Exposure
from ml.lake.locks import this_process
from ml.records import tables

# By exposure, the revision that is followed now.
NEWEST_SQL = "select exposure, max_by(revision, followed_at) from lake.ops.followed group by exposure"


def follow(con: duckdb.DuckDBPyConnection, exposures: Sequence[Exposure]) -> list[str]:
    """Record that these are followed as they are from now on; the names of those that were not.

    In a lake of an earlier release nothing is recorded before a build has made the table.
    """
    try:
        newest = dict(con.execute(NEWEST_SQL).fetchall())
    except duckdb.CatalogException:
        return []
    news = [exposure for exposure in exposures if newest.get(exposure.name) != exposure.revision()]
    for exposure in news:
        row = {"exposure": exposure.name, "revision": exposure.revision(), "followed_by": this_process()}
        tables.insert(con, "ops.followed", row, "followed_at")
    return [exposure.name for exposure in news]
