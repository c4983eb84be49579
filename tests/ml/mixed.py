"""A learned-from table of columns as people have them: kinds, NULLs and names of all sorts."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ml.exposures import Exposure
from ml.records import publications, tables
from ml.spec import CandidateSpec, FeaturesSpec, Spec

SIZE, WHERE, OPEN, SINCE, CODE, AREA = 'Größe "m²"', "select", "Ist offen?", "seit wann", "plz", "AREA"
FEATURES = (SIZE, WHERE, OPEN, SINCE, CODE, AREA)
LEVELS = ("it's", 'a "b"', "Köln", "東京", "null", "")


def exposure(*candidates: str | CandidateSpec) -> Exposure:
    return Exposure(
        name="mixed",
        owner="Someone",
        owner_email=None,
        description="",
        unique_id="model.tract.mixed",
        relation="features.mixed",
        columns={
            "row no": "VARCHAR",
            SIZE: "DECIMAL(9,3)",
            WHERE: "VARCHAR",
            OPEN: "BOOLEAN",
            SINCE: "DATE",
            CODE: "INTEGER",
            AREA: "DOUBLE",
            "cell": "VARCHAR",
            "y": "DOUBLE",
        },
        spec=Spec(
            key="row no",
            target="y",
            group="cell",
            predictions="mixed_predictions",
            candidates=candidates or ("ridge",),
            features=FeaturesSpec(categorical=(CODE,)),
        ),
    )


def frame(rows: int = 600, seed: int = 0, missing: float = 0.1) -> pd.DataFrame:
    """Rows as pandas has them: None, NaN and NaT for NULL; `AREA` has none."""
    random = np.random.default_rng(seed)

    def some(values: Any) -> Any:
        column = pd.Series(values)
        return column.where(random.uniform(size=rows) >= missing)

    size, area = random.uniform(10, 200, rows).round(3), random.uniform(0, 9, rows)
    where, code = random.integers(0, len(LEVELS), rows), random.integers(0, 4, rows)
    days = random.integers(0, 900, rows)
    made = pd.DataFrame(
        {
            "row no": [f"k{i:05d}" for i in range(rows)],
            SIZE: some(size),
            WHERE: some(np.array(LEVELS, object)[where]),
            OPEN: some((random.uniform(size=rows) < 0.5).astype(object)),
            SINCE: some(pd.Timestamp("2020-02-28") + pd.to_timedelta(days, unit="D")),
            CODE: some(np.array([1010.0, 8001.0, 50667.0, 99999.0])[code]),
            AREA: area,
            "cell": [f"c{i % 20}" for i in range(rows)],
        }
    )
    made["y"] = (
        1000
        + made[SIZE].fillna(50.0)
        + 20.0 * where
        + 30.0 * (code == 2)
        + 15 * (made[OPEN] == True)  # noqa: E712 (None is neither)
        + days / 30
        - 2 * area
        + random.normal(size=rows)
    )
    return made


TABLE = f"""
    select * replace (
        cast("{SIZE.replace('"', '""')}" as decimal(9, 3)) as "{SIZE.replace('"', '""')}",
        cast("{OPEN}" as boolean) as "{OPEN}",
        cast("{SINCE}" as date) as "{SINCE}",
        cast("{CODE}" as integer) as "{CODE}"
    ) from rows
"""


def publish(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame, invocation: str = "first") -> str:
    """Build features.mixed of a frame and publish it, in a lake of `tests.ml.conftest`; the publication's id."""
    for statement in tables.statements([exposure()]):
        con.execute(statement)
    con.execute("begin")
    con.execute(f"create or replace table lake.features.mixed as {TABLE}")
    con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => 'features.mixed')")
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, "features.mixed")).fetchall()
    con.execute(publications.insert_sql(invocation, "features.mixed", str(snapshot)))
    return f"features.mixed@{snapshot}"
