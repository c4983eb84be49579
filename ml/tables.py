"""The DDL of the tables that ml writes."""

from collections.abc import Iterable
from importlib.resources import files

import duckdb

from ml.spec import Exposure


def statements(exposures: Iterable[Exposure]) -> list[str]:
    """Idempotent statements that make the tables: those of `tables.sql`, then the exposures' predictions.

    A table of predictions carries the key's own name and type, so that it joins to the features as it is.
    """
    fixed = files("ml").joinpath("tables.sql").read_text()
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
