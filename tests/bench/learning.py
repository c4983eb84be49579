"""`make bench`: ours, the recipe that we start from, scikit-learn's best and the limit, side by side in one run.

Each contender works in processes of its own, on the same landed rows, on local disk and on the local S3; their memory
is that of the whole tree of processes, looked at every 20 ms. Writes docs/bench.json, docs/bench.md and docs/bench.png.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration import stack
from orchestration.stack import s3
from tests.bench import picture, report, table
from tests.bench.machine import facts, measured
from tests.bench.measure import Measure
from tests.conftest import LAKE, new_lake, run_dbt

CONTENDER = "tests.bench.contender"
CONTENDERS = [
    "ours", "limit", "moments", "correct", "scikit-learn", "recipe", "polars", "Spark ML", "H2O", "logistic",
    "scikit-learn's logistic",
]  # fmt: skip
STORAGES = ["local disk", "local S3"]
ROOT = Path(__file__).resolve().parents[2]
# What has packages of its own.
RIVALS = {"Spark ML": "spark_ml", "H2O": "h2o_glm"}
RIVALS_PYTHON = ROOT / ".venv" / "rivals" / "bin" / "python"
MEMORY_LIMIT = "1GB"  # of DuckDB in ours and in the limit; the recipe takes what it takes
REPEATS = 3  # medians of so many; one at sizes beyond the recipe's, which take minutes each
# The recipe's fit holds some 0.8 kB a row: beyond this it does not fit into the memory of the machine.
RECIPE_ROWS = 10_000_000


def contend(contender: str, names: tuple[str, ...], told: dict[str, Any], repeats: int) -> Measure:
    """The median of some runs, stage by stage; the largest of their peaks."""
    runs = []
    where = ("tests.bench.rivals", str(RIVALS_PYTHON)) if contender in RIVALS else (CONTENDER, sys.executable)
    for repeat in range(repeats):
        done = [measured(where[0], name, {**told, "repeat": repeat}, where[1]) for name in names]
        seconds = {stage: s for found, _, _ in done for stage, s in found["seconds"].items()}
        runs.append((seconds, sum(s for _, s, _ in done), max(peak for _, _, peak in done), done[-1][0]))
        print(f"  {contender:12} {sum(seconds.values()):8.1f} s in its stages, {runs[-1][2] / 1e9:.2f} GB", flush=True)
    # the first consumption has no champion to watch: such a stage's median is that of the runs that have it
    named = dict.fromkeys(stage for run in runs for stage in run[0])
    stages = {stage: statistics.median(run[0][stage] for run in runs if stage in run[0]) for stage in named}
    found = {name: value for name, value in runs[-1][3].items() if name != "seconds"}
    return Measure(
        contender,
        told["storage"],
        told["rows"],
        stages,
        statistics.median(run[1] for run in runs),
        max(run[2] for run in runs),
        found,
    )


def sql(servers: Path, home: Path) -> dict[str, str]:
    """dbt's own SQL of the staging view and the features, compiled against a lake."""
    told = run_dbt(new_lake(servers, home), "compile", "--select", "stg_housing", "housing_features")
    if told.returncode:
        raise SystemExit(told.stdout)
    compiled = home / "target" / "compiled"
    return {
        "staging_sql": next(compiled.rglob("stg_housing.sql")).read_text(),
        "features_sql": next(compiled.rglob("housing_features.sql")).read_text(),
    }


def storages(servers: Path, work: Path) -> dict[str, dict[str, Any]]:
    """For each storage, the home of an empty lake, a place for files beside it, and what pandas needs to enter."""
    store, local = s3.address(servers), work / "disk"
    client = {"endpoint_url": f"http://{store.endpoint}", "region_name": store.region}
    options = {"key": store.key_id, "secret": store.secret, "client_kwargs": client}
    on_disk, on_s3 = new_lake(servers, work / "local", local), new_lake(servers, work / "s3")
    (local / "files").mkdir()
    return {
        "local disk": {"home": on_disk, "root": f"{local}/files", "options": None},
        "local S3": {"home": on_s3, "root": f"{store.root}/{(on_s3 / LAKE).read_text()}/files", "options": options},
    }


def run(sizes: list[int], kinds: list[str], only: list[str], work: Path) -> list[Measure]:
    """The contenders at every size on every storage."""
    servers = work / "servers"
    stack.up(servers)
    done: list[Measure] = []
    try:
        compiled = sql(servers, work / "compiled")
        for rows in sizes:
            table.write(rows, source := work / "source.parquet")
            lakes = Path(tempfile.mkdtemp(dir=work))
            for storage, place in storages(servers, lakes).items():
                if storage not in kinds:
                    continue
                print(f"{rows:,} rows on {storage}", flush=True)
                environment = {"TRACT_HOME": str(place["home"]), "TRACT_MEMORY_LIMIT": MEMORY_LIMIT}
                told = {
                    **compiled, "source": str(source), "rows": rows, "storage": storage, "environment": environment,
                    "root": place["root"], "options": place["options"],
                }  # fmt: skip
                measured(CONTENDER, "land", told)
                repeats = REPEATS if rows <= RECIPE_ROWS else 1
                for contender, (tasks, times) in _contenders(rows, storage, repeats).items():
                    if contender in only:
                        done.append(contend(contender, tasks, told, times))
            shutil.rmtree(lakes)
    finally:
        stack.down(servers)
    return done


def _contenders(rows: int, storage: str, repeats: int) -> dict[str, tuple[tuple[str, ...], int]]:
    """The processes of each contender at a size on a storage, and how many times they run."""
    found = {
        "ours": (("ours_featurize", "ours_consume"), repeats),
        "limit": (("copy", "copy_made"), repeats),
        "moments": (("moments",), repeats),
    }
    if storage == "local disk":
        found |= {"correct": (("correct",), 1), "logistic": (("logistic",), repeats)}
    if rows <= RECIPE_ROWS:
        found |= {"recipe": (("recipe_featurize", "recipe_train", "recipe_predict"), 1)}
        if storage == "local disk":
            found |= {"scikit-learn": (("scikit_learn",), 1), "polars": (("polars",), 1)}
            found |= {"scikit-learn's logistic": (("scikit_learn_logistic",), repeats)}
            found |= {} if missing_rivals() else {rival: ((work,), 1) for rival, work in RIVALS.items()}
    return found


def missing_rivals() -> str:
    """Why Spark ML and H2O are not measured; empty where they are."""
    if not RIVALS_PYTHON.exists():
        return "their packages are not there: `make rivals` installs them"
    return "" if shutil.which("java") else "there is no Java"


def _kept(measures: list[Measure], path: Path, only: list[str]) -> list[Measure]:
    """What was measured now and, where only some contenders were asked for, what else the file has."""
    kept = only != CONTENDERS and path.exists()
    before = [Measure(**said) for said in json.loads(path.read_text())["measures"]] if kept else []
    found = {(m.rows, STORAGES.index(m.storage), CONTENDERS.index(m.contender)): m for m in [*before, *measures]}
    return [found[case] for case in sorted(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 50], help="sizes, in millions of rows")
    parser.add_argument("--storage", nargs="+", default=STORAGES, choices=STORAGES, help="where the tables stand")
    parser.add_argument(
        "--only",
        nargs="+",
        default=CONTENDERS,
        choices=CONTENDERS,
        help="measure these; what else the file has stays",
    )
    parser.add_argument("--to", type=Path, default=ROOT / "docs", help="where the three files are written")
    asked = parser.parse_args()
    if why := missing_rivals():
        print(f"{' and '.join(RIVALS)} are not measured: {why}.", flush=True)
    work = Path(tempfile.mkdtemp(prefix="tract-bench-"))
    try:
        done = run([int(m * 1e6) for m in asked.millions], asked.storage, asked.only, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    machine = {**facts("duckdb", "scikit-learn", "pandas", "numpy", "pyarrow", "s3fs"), "memory_limit": MEMORY_LIMIT}
    asked.to.mkdir(exist_ok=True)
    done = _kept(done, asked.to / "bench.json", asked.only)
    (asked.to / "bench.json").write_text(
        json.dumps({"machine": machine, "measures": [asdict(m) for m in done]}, indent=1) + "\n"
    )
    picture.draw(done, asked.to / "bench.png")
    page = "\n".join(report.page(done, machine))
    (asked.to / "bench.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
