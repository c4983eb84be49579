"""`python -m tests.bench.tall 10`: LightGBM on every row of 10 million × 11, and beside it from a frame in memory.

Each in a process of its own, on the same published rows of a new lake; memory is that of the process and its children,
looked at every 20 ms. `--only ours` leaves the other out. Needs the extra `boosting`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ml import consumption, lake
from ml.exposures import Exposure
from ml.spec import CandidateSpec, Spec
from tests.bench import lakes
from tests.bench.machine import measured

MEMORY_LIMIT = "1GB"  # of DuckDB, as in `make bench`
FEATURES = [f"x{number}" for number in range(11)]
EXPOSURE = Exposure(
    name="tall",
    owner="The bench",
    owner_email=None,
    description="Every row, by LightGBM.",
    unique_id="model.tract.points",
    relation="features.points",
    columns={"id": "BIGINT", **dict.fromkeys(FEATURES, "DOUBLE"), "y": "DOUBLE"},
    spec=Spec(
        key="id",
        target="y",
        max_rows="all",
        candidates=(CandidateSpec(name="lightgbm", estimator="lightgbm.LGBMRegressor"),),
    ),
)


def rows_sql(rows: int) -> str:
    """Uniform features, the same each time; what six of them add up to, and noise of standard deviation 1."""
    uniform = ", ".join(
        f"(hash(hash(i, '{name}')) / 18446744073709551616.0 - 0.5) * 2 as {name}" for name in [*FEATURES, "u", "v"]
    )
    return f"""
        select
            i as id,
            {", ".join(FEATURES)},
            3 * x0 + 2 * sin(4 * x1) + 4 * x2 * x3 + if(x4 > x5, 2, 0)
            + sqrt(-2 * ln((u + 1.000001) / 2.000002)) * cos(pi() * v) as y
        from (select i, {uniform} from range({rows}) as t(i))
    """


def ours(told: dict[str, Any]) -> dict[str, Any]:
    """A consumption: learn and judge, choose, predict every row."""
    made = consumption.consume(EXPOSURE, say=_aside)
    assert made is not None
    assert made.predicted_rows == told["rows"], made
    judged = {name: made.metrics[name] for name in ("rmse", "rows", "coverage")}
    return {"seconds": made.seconds, **judged}


def in_memory(told: dict[str, Any]) -> dict[str, Any]:
    """A frame of all rows, from which one fold of five is held out and everything predicted: two fits of ours' six."""
    import lightgbm

    began = time.perf_counter()
    with lake.connect() as con:
        frame = con.execute("select * exclude (id) from lake.features.points order by id").df()
    seconds = {"read": time.perf_counter() - began}
    features, target = frame[FEATURES], frame["y"]
    held = np.random.default_rng(0).integers(0, 5, len(frame)) == 0
    model = lightgbm.LGBMRegressor(random_state=0, n_jobs=os.cpu_count(), verbosity=-1)
    errors = model.fit(features[~held], target[~held]).predict(features[held]) - target[held]
    seconds["judge one fold"] = time.perf_counter() - began - sum(seconds.values())
    model.fit(features, target).predict(features)
    seconds["fit and predict"] = time.perf_counter() - began - sum(seconds.values())
    return {"seconds": seconds, "rmse": float(np.sqrt(np.mean(errors**2))), "rows": len(errors)}


def _aside(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


CONTENDERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"ours": ours, "in_memory": in_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", type=float, nargs="?", default=1.0)
    parser.add_argument("--only", choices=CONTENDERS)
    asked = parser.parse_args()
    rows = int(asked.millions * 1e6)
    os.environ["TRACT_MEMORY_LIMIT"] = MEMORY_LIMIT
    with lakes.new([EXPOSURE]) as con:
        lakes.publish(con, [f"create table lake.features.points as {rows_sql(rows)}"], "tall")
        con.close()
        for name in [asked.only] if asked.only else CONTENDERS:
            found, seconds, peak = measured("tests.bench.tall", name, {"rows": rows})
            stages = ", ".join(f"{stage} {taken:.1f}" for stage, taken in found["seconds"].items())
            judged = f"RMSE {found['rmse']:.4f} of {found['rows']:,.0f} held-out rows"
            print(
                f"{rows:,} rows × {len(FEATURES)}, {name}: {seconds:.1f} s ({stages}), at most {peak / 1e9:.2f} GB; "
                f"{judged}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CONTENDERS:
        print(json.dumps(CONTENDERS[sys.argv[1]](json.load(sys.stdin))))
    else:
        main()
