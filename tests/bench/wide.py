"""`python -m tests.bench.wide`: tables of many columns. Their sums beside numpy's, and a whole run of 2,000 columns."""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import duckdb
import numpy as np

from ml import completion, consumption
from ml.exposures import Exposure
from ml.linear import gathering
from ml.reports import card
from tests.bench import lakes
from tests.ml.conftest import POINTS
from tests.ml.rows import silent

REPEATS = 3


def names(width: int) -> list[str]:
    return [f"x{number}" for number in range(width)]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def sums(rows: int, width: int) -> None:
    """Sums of products in DuckDB beside numpy's of an array that is in memory already, some times each in turn."""
    with tempfile.TemporaryDirectory() as place, duckdb.connect() as con:
        table = f"{place}/wide.parquet"
        values = ", ".join(f"random() as {name}" for name in names(width))
        con.execute(f"copy (select {values}, random() as y from range({rows})) to '{table}'")
        columns = con.execute(f"from '{table}'").fetchnumpy()
        array = np.column_stack([columns.pop(name) for name in [*names(width), "y"]])
        ours, numpys = [], []
        for _ in range(REPEATS):
            numpys.append(seconds(lambda: array.T @ array))
            ours.append(seconds(lambda: gathering.gather(con, f"'{table}'", names(width), "y")))
    mine, theirs = statistics.median(ours), statistics.median(numpys)
    print(
        f"{rows:,} rows of {width} columns: sums {mine:.1f} s from parquet, "
        f"numpy's X.T @ X {theirs:.1f} s from memory, ratio {mine / theirs:.2f}",
        flush=True,
    )


def asked(width: int) -> Exposure:
    """Ridge on so many numbers."""
    columns = {"id": "BIGINT", **dict.fromkeys(names(width), "DOUBLE"), "cell": "INTEGER", "y": "DOUBLE"}
    return replace(POINTS, name="wide", columns=columns)


def run(rows: int, width: int) -> None:
    """Learn, measure and explain a table of many columns on a stack of its own, with each stage's seconds."""
    exposure = asked(width)
    values = ", ".join(f"random() as {name}" for name in names(width))
    features = f"select i as id, {values}, (i % 100)::integer as cell from range({rows}) as t(i)"
    with lakes.new([exposure]) as con:
        made = f"create table lake.features.points as select *, x0 + x1 + random() as y from ({features})"
        lakes.publish(con, [made], "wide")
        stages: dict[str, Callable[[], object]] = {
            "consumption": lambda: consumption.consume(exposure, say=silent),
            "drift, live error": lambda: completion.complete(exposure, say=silent),
            "importance, card": lambda: card.explain(exposure, say=silent),
        }
        for name, stage in stages.items():
            print(f"{rows:,} rows of {width:,} columns: {name} {seconds(stage):.1f} s", flush=True)
        page = card.saved(con, exposure.name)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"the card has {len(page):,} bytes; the largest of this process was {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sums", type=int, nargs=2, default=(1_000_000, 300), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--run", type=int, nargs=2, default=(20_000, 2_000), metavar=("ROWS", "COLUMNS"))
    chosen = parser.parse_args()
    run(*chosen.run)
    sums(*chosen.sums)
