"""`python -m tests.bench.incremental 10`: of so many million rows 1 % changed, which are scored anew, or all."""

import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import duckdb

from ml import consumption, lake
from ml.exposures import Exposure
from ml.records import migrations, publications, tables
from ml.spec import PredictionsSpec
from orchestration import stack
from tests.ml.conftest import POINTS

# What the last commit wrote into a table.
NEWEST_FILES_SQL = """
    select sum(files.record_count), sum(files.file_size_bytes)
    from __ducklake_metadata_lake.ducklake_data_file as files
    inner join __ducklake_metadata_lake.ducklake_table as tables using (table_id)
    where tables.table_name = ?
    group by files.begin_snapshot
    order by files.begin_snapshot desc
    limit 1
"""
DIFFERING_SQL = """
    with whole as (
        from lake.ml.whole
        where publication_id = (select max_by(publication_id, predicted_at) from lake.ml.whole)
    )

    select count(*)
    from lake.ml.current_incremental as incremental
    full join whole using (id)
    where incremental.prediction is distinct from whole.prediction
"""
NUMBERS = [f"x{number}" for number in range(8)]


def asked(incremental: bool) -> Exposure:
    """Ridge on eight numbers."""
    columns = {"id": "BIGINT", **dict.fromkeys(NUMBERS, "DOUBLE"), "cell": "INTEGER", "y": "DOUBLE"}
    name = "incremental" if incremental else "whole"
    spec = POINTS.spec.model_copy(
        # a champion whose recipe is worse by any share serves on
        update={"predictions": PredictionsSpec(table=name, incremental=incremental), "refresh_margin": 0.0}
    )
    return replace(POINTS, name=name, columns=columns, spec=spec)


def publish(con: duckdb.DuckDBPyConnection, rows: int, changed: float) -> None:
    """Build the rows, a share of them others than before, and publish them."""
    con.execute("begin")
    numbers = ", ".join(f"random() as {name}" for name in NUMBERS)
    if changed == 0:
        con.execute(
            f"create table lake.features.points as select i as id, {numbers}, (i % 1000)::integer as cell, "
            f"0e0 as y from range({rows}) as t(i)"
        )
        con.execute(f"update lake.features.points set y = {' + '.join(NUMBERS)} + random()")
    else:
        con.execute(
            f"update lake.features.points set x0 = random(), y = y + 10 * random() where id % {1 / changed:.0f} = 0"
        )
    con.execute("call lake.set_commit_message('dbt', ?, extra_info => 'features.points')", [str(changed)])
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(str(changed), "features.points")).fetchall()
    con.execute(publications.insert_sql(str(changed), "features.points", str(snapshot)))


def main(millions: str) -> None:
    """Print what was written, how long it took, and that both give the same."""
    rows, work = int(float(millions) * 1e6), Path(tempfile.mkdtemp())
    os.environ["TRACT_HOME"] = str(work / "home")
    stack.up(work / "home")
    try:
        exposures = [asked(incremental) for incremental in (False, True)]
        with lake.connect() as con:
            for statement in [*tables.option_statements(), *migrations.statements(set(), 0, exposures)]:
                con.execute(statement)
            con.execute("create schema lake.features")
            for changed in (0.0, 0.01):
                publish(con, rows, changed)
                for exposure in exposures:
                    began = time.monotonic()
                    done = consumption.consume(exposure, say=lambda sentence: None)
                    assert done is not None
                    seconds, table = time.monotonic() - began, exposure.spec.predictions_table
                    ((written, size),) = con.execute(NEWEST_FILES_SQL, [table]).fetchall()
                    print(
                        f"{changed:4.0%} changed, {exposure.name:11}: {done.outcome}, {seconds:6.1f} s, the commit "
                        f"{done.seconds['commit']:.1f}; {done.predicted_rows:,} predicted, {written:,} rows and "
                        f"{size / 1e6:,.1f} MB written",
                        flush=True,
                    )
            ((differing,),) = con.execute(DIFFERING_SQL).fetchall()
            print(f"{differing:,} of {rows:,} standing predictions differ")
    finally:
        stack.down(work / "home")
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
