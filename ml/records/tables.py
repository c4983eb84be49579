"""The DDL of the tables that ml writes, and how the lake stores every table."""

from collections.abc import Collection, Iterable
from importlib.resources import files

import duckdb

from ml.spec import Exposure

# DuckLake's options, for every client. All rows are parquet: by default ten rows of an insert may stay in the catalog.
# Doubles packed by parquet's second version, then zstd's quickest level: 10 million rows of features are 0.71 GB, and
# written in 4.9 s to a disk, in 12.8 s to S3; DuckDB's default (snappy, version 1) makes 1.02 GB in 5.5 and 16.9 s.
OPTIONS = {
    "data_inlining_row_limit": "0",
    "parquet_compression": "zstd",
    "parquet_compression_level": "1",
    "parquet_version": "2",
}


def option_statements(present: Collection[str] = ()) -> list[str]:
    """Statements that set a lake's options, but for those that are present: what somebody chose otherwise stays.

    It is done once also since setting an option while another process commits fails.
    """
    return [f"call lake.set_option('{name}', '{value}')" for name, value in OPTIONS.items() if name not in present]


def statements(exposures: Iterable[Exposure]) -> list[str]:
    """Idempotent statements that make the tables: those of `tables.sql`, then the exposures' predictions.

    A table of predictions carries the key's own name and type, so that it joins to the features as it is.
    """
    fixed = files("ml.records").joinpath("tables.sql").read_text()
    made = [statement.query for statement in duckdb.extract_statements(fixed)]
    for exposure in exposures:
        key = f'"{exposure.spec.key}" {exposure.columns[exposure.spec.key]} not null'
        made.append(
            f"""create table if not exists lake.ml."{exposure.spec.predictions}" (
    exposure varchar not null,
    publication_id varchar not null,
    {key},
    prediction double not null,
    lower double not null,
    upper double not null,
    version_id varchar not null,
    predicted_at timestamptz not null
)"""
        )
        made.append(
            f"""create table if not exists lake.ml."{exposure.heldout}" (
    exposure varchar not null,
    version_id varchar not null,
    candidate varchar not null,
    split varchar not null,
    fold integer not null,
    {key},
    actual double not null,
    predicted double not null,
    lower double,
    upper double
)"""
        )
        # of a lake from before intervals were held out
        for end in ("lower", "upper"):
            made.append(f'alter table lake.ml."{exposure.heldout}" add column if not exists {end} double')
    return list(dict.fromkeys(made))
