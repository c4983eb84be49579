"""`python -m tests.bench.incremental 10`: of so many million rows 1 % changed, which are scored anew, or all."""

import sys
import time
from dataclasses import replace

from ml import consumption
from ml.exposures import Exposure
from ml.records import champions, versions
from ml.serving import scoring
from ml.spec import PredictionsSpec
from tests.bench import lakes
from tests.ml.conftest import POINTS
from tests.ml.rows import silent

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
# The two exposures' versions differ in their last bits, as sums over threads do: one version is held to itself.
DIFFERING_SQL = """
    select count(*)
    from lake.ml.current_incremental as standing
    full join {scored} as scored using (id)
    where
        (standing.prediction, standing.lower, standing.upper)
        is distinct from (scored.prediction, scored.lower, scored.upper)
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


def build(rows: int, changed: float) -> list[str]:
    """The statements that make the rows, or give a share of them other values than before."""
    if changed:
        return [
            f"update lake.features.points set x0 = random(), y = y + 10 * random() where id % {1 / changed:.0f} = 0"
        ]
    numbers = ", ".join(f"random() as {name}" for name in NUMBERS)
    features = f"select i as id, {numbers}, (i % 1000)::integer as cell from range({rows}) as t(i)"
    return [f"create table lake.features.points as select *, {' + '.join(NUMBERS)} + random() as y from ({features})"]


def main(millions: str) -> None:
    """Print what was written, how long it took, and that all stands as if all were predicted."""
    rows = int(float(millions) * 1e6)
    exposures = [asked(incremental) for incremental in (False, True)]
    with lakes.new(exposures) as con:
        for changed in (0.0, 0.01):
            lakes.publish(con, build(rows, changed), str(changed))
            for exposure in exposures:
                began = time.monotonic()
                done = consumption.consume(exposure, say=silent)
                assert done is not None
                seconds, table = time.monotonic() - began, exposure.spec.predictions_table
                ((written, size),) = con.execute(NEWEST_FILES_SQL, [table]).fetchall()
                print(
                    f"{changed:4.0%} changed, {exposure.name:11}: {done.outcome}, {seconds:6.1f} s, the commit "
                    f"{done.seconds['commit']:.1f}; {done.predicted_rows:,} predicted, {written:,} rows and "
                    f"{size / 1e6:,.1f} MB written",
                    flush=True,
                )
        champion, publication = champions.champion(con, exposure.name), champions.newest_predicted(con, exposure)
        assert champion is not None
        assert publication is not None
        estimator = versions.load(con, exposure.name, champion)
        with scoring.predicted(con, exposure, publication, champion, estimator, silent) as scored:
            ((differing,),) = con.execute(DIFFERING_SQL.format(scored=scored)).fetchall()
        print(f"{differing:,} of {rows:,} standing predictions differ from those of all rows by the same version")


if __name__ == "__main__":
    main(*sys.argv[1:])
