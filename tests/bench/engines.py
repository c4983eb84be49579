"""`python -m tests.bench.engines`: DuckDB, Sail and a cluster of Spark on the same rows, stage by stage.

The features are built, fingerprinted, learned from by ridge and predicted, once each, on a lake on local disk; memory
is that of the process that asks and of all processes of the engine. Prints a table. `--only DuckDB` measures less.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from ml import consumption, lake
from ml.records import publications
from ml.spark import session
from orchestration import stack
from tests.bench import table
from tests.bench.contender import LEARNED
from tests.bench.exposure import EXPOSURE
from tests.bench.learning import CONTENDER, MEMORY_LIMIT, sql
from tests.bench.machine import facts, measured
from tests.bench.stages import Found, Stages, Told
from tests.conftest import new_lake
from tests.spark import servers as engines

ENGINES = ("DuckDB", "Sail", "Spark")
STAGES = ("features", "fingerprint", "learn", "predict")
LEARNING = ("read", "judge", "fit", "save", "decide")


def work(told: Told) -> Found:
    """Build the features, publish them, learn and predict, by an engine."""
    by_engine = told["engine"] != "DuckDB"
    with lake.connect() as con:
        stages, invocation = Stages(), f"bench {time.time()}"
        made = _built(con, told["features_sql"]) if by_engine else [f"as {told['features_sql']}"]
        con.execute("begin")
        con.execute(f"create or replace table lake.{LEARNED} {made[0]}")
        for statement in made[1:]:
            con.execute(statement)
        con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => '{LEARNED}')")
        con.execute("commit")
        stages.end("features")
        ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, LEARNED)).fetchall()
        sums = _sums(con, snapshot) if by_engine else None
        con.execute(publications.insert_sql(invocation, LEARNED, str(snapshot), sums))
        stages.end("fingerprint")
    spec = EXPOSURE.spec.model_copy(update={"engine": "spark" if by_engine else "duckdb"})
    exposure = replace(EXPOSURE, name=f"bench_{told['engine'].lower()}", spec=spec)
    consumed = consumption.consume(exposure, say=lambda sentence: print(sentence, file=sys.stderr))
    assert consumed is not None
    assert consumed.predicted_rows == told["rows"], consumed
    stages.seconds["learn"] = sum(consumed.seconds[stage] for stage in LEARNING)
    stages.seconds["predict"] = consumed.seconds["commit"]
    return {"seconds": stages.seconds, "rmse": consumed.metrics["rmse"]}


def _built(con: Any, query: str) -> list[str]:
    from ml.spark import building

    schema, name = LEARNED.split(".")
    built = building.build(con, query, schema, name, f"{name}.sql")
    print(f"{built.rows:,} rows {built.way}", file=sys.stderr)
    return [f"({built.ddl})", *building.statements(built, schema, name, [])]


def _sums(con: Any, snapshot: int) -> tuple[int, int]:
    from ml.spark.engine import Spark

    spark = Spark(con, LEARNED, snapshot, publications.table_at(LEARNED, snapshot))
    return publications.sums(spark.of_parts(publications.SUMS_SQL))


@contextmanager
def _engine(name: str, servers: Path, folder: Path) -> Iterator[tuple[dict[str, str], Sequence[psutil.Process]]]:
    """What an engine is found by, and its processes."""
    if name == "DuckDB":
        yield {}, []
    elif name == "Sail":
        with engines.sail(servers, folder / "log") as sail:
            yield {session.REMOTE: sail.address, session.SCHEME: "s3"}, [sail.process]
    else:
        with engines.cluster(folder) as cluster:
            yield {session.REMOTE: cluster.connect.address}, [server.process for server in cluster.servers]


def run(sizes: Sequence[int], names: Sequence[str], folder: Path) -> list[str]:
    """The table's lines."""
    servers, lines = folder / "servers", []
    stack.up(servers)
    try:
        compiled = sql(servers, folder / "compiled")
        for rows in sizes:
            table.write(rows, source := folder / "source.parquet")
            place = folder / str(rows)
            home = new_lake(servers, place / "home", place / "disk")
            environment = {"TRACT_HOME": str(home), "TRACT_MEMORY_LIMIT": MEMORY_LIMIT}
            told = {
                **compiled, "source": str(source), "rows": rows, "root": str(place), "environment": environment
            }  # fmt: skip
            measured(CONTENDER, "land", told)
            for name in names:
                (at_work := place / name).mkdir()
                try:
                    with _engine(name, servers, at_work) as (found_by, beside):
                        asked = {**told, "engine": name, "environment": {**environment, **found_by}}
                        found, _, peak = measured("tests.bench.engines", "work", asked, beside=beside)
                except pytest.skip.Exception as why:
                    print(f"{name} is not measured: {why}", flush=True)
                    continue
                seconds = [found["seconds"][stage] for stage in STAGES]
                told_seconds = " | ".join(f"{taken:.1f}" for taken in [*seconds, sum(seconds)])
                lines.append(f"| {rows / 1e6:g} | {name} | {told_seconds} | {peak / 1e9:.1f} | {found['rmse']:,.1f} |")
                print(lines[-1], flush=True)
            shutil.rmtree(place)
    finally:
        stack.down(servers)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 20], help="sizes, in millions of rows")
    parser.add_argument("--only", nargs="+", default=ENGINES, choices=ENGINES, help="engines")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tract-bench-"))
    try:
        lines = run([int(millions * 1e6) for millions in asked.millions], asked.only, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(facts("duckdb", "scikit-learn"))
    heads = ["rows, millions", "engine", *(f"{stage}, s" for stage in STAGES), "in all, s", "peak, GB", "RMSE"]
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines]))


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        asked_of = json.load(sys.stdin)
        os.environ.update(asked_of["environment"])
        print(json.dumps(work(asked_of)))
    else:
        main()
