"""Which engine reads an exposure's published rows."""

import duckdb

from ml.exposures import Exposure
from ml.lake.engine import Engine
from ml.records.publications import Publication

SPARK = "spark"


def is_spark(exposure: Exposure, rows: int) -> bool:
    """Whether so many rows are read by Spark, as the spec says."""
    above = exposure.spec.spark_above_rows
    return rows > above if above is not None else exposure.spec.engine == SPARK


def of(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication) -> Engine | None:
    """What reads a publication's rows where that is not this process's DuckDB."""
    if not is_spark(exposure, publication.row_count):
        return None
    from ml.spark.engine import Spark

    return Spark(con, publication.relation, publication.snapshot_id, publication.table)
