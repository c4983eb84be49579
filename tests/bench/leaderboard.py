"""`make leaderboard`: how accurate the exposures' recipes are, beside CatBoost, ridge and a default gradient boosting.

On the lake's newest published features (`make run` first). Filling in: five random 80/20 splits, seeds 0 to 4;
whatever is searched is searched on the 80 alone, by the product's own search. A new region: five deals of the groups to
five folds, every fold held out once, nothing searched. Each contender and seed is a process of its own, one after the
other. Writes docs/leaderboard.json and docs/leaderboard.md; `--only` measures one question again, and keeps the other.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GroupKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml import lake
from ml.exposures import Exposure
from ml.learning import candidates, training_set, trials, unfitted
from ml.learning.training_set import TrainingSet
from ml.manifest import read_exposures
from ml.records import publications
from ml.spec import CandidateSpec
from orchestration.project import manifest
from tests.bench.machine import facts, measured

UNIT = 100_000  # dollars, the unit of the literature
SEEDS = range(5)
# scikit-learn's eight columns under the names that staging gives them
EIGHT = [
    "median_income_usd",
    "house_age_years",
    "rooms_per_household",
    "bedrooms_per_household",
    "population",
    "people_per_household",
    "latitude",
    "longitude",
]
CATBOOST = CandidateSpec.model_validate(
    {
        "name": "catboost",
        "estimator": "catboost.CatBoostRegressor",
        "parameters": {"iterations": 1000, "thread_count": 1, "verbose": 0, "allow_writing_files": False},
        "search": {
            "space": {
                "depth": {"low": 4, "high": 8},
                "learning_rate": {"low": 0.02, "high": 0.2, "log": True},
                "l2_leaf_reg": {"low": 1.0, "high": 10.0, "log": True},
                "iterations": {"low": 500, "high": 2000, "log": True},
            },
            "trials": 1000,
        },
    }
)
DEFAULT = CandidateSpec(name="gradient_boosting")
RIDGE = CandidateSpec(name="standardized_ridge", estimator="tests.bench.leaderboard.ridge")
RAW = ("catboost", "gradient_boosting")  # these see scikit-learn's eight columns, the others all of the table's
TITLES = {
    "ours": "Tract: the spec's winner",
    "catboost": "CatBoost on the raw eight features",
    "gradient_boosting": "a default HistGradientBoosting on the raw eight",
    "ridge": "ridge",
    "neighbours": "the recipe that fills in, asked about a new region",
}
RANDOM = ("ours", "catboost", "gradient_boosting", "ridge")
GROUP = ("ours", "neighbours", "catboost", "gradient_boosting", "ridge")


def published(relation: str) -> TrainingSet:
    """The newest publication of a table, as the exposure that learns from it reads it."""
    (exposure,) = [exposure for exposure in read_exposures(manifest()) if exposure.relation == relation]
    with lake.connect() as con:
        newest = con.execute(
            "select max_by(publication_id, snapshot_id) from lake.ops.publications where relation = ?", [relation]
        ).fetchall()[0][0]
        publication = publications.publication(con, newest) if newest else None
        if publication is None:
            raise SystemExit(f"{relation} was never published: `make run` first, with HOUSING_NEW_REGION=true.")
        return training_set.read(con, exposure, publication, lambda sentence: None)


def ridge() -> Any:
    """Ridge as the recipe that we start from has it."""
    return make_pipeline(StandardScaler(), RidgeCV(candidates.ALPHAS))


def recipes(exposure: Exposure) -> dict[str, CandidateSpec]:
    """What competes for an exposure's question; ours stands last in the spec, after those that it has to beat."""
    ours = exposure.spec.recipes[-1]
    return {"ours": ours, "neighbours": ours, "catboost": CATBOOST, "gradient_boosting": DEFAULT, "ridge": RIDGE}


def fill_in(contender: str, seed: int, seconds: float) -> dict[str, Any]:
    """One contender on one random split: the error on the 20 %, and what searching and fitting took."""
    training = published("features.housing_features")
    features, target = training.features, training.target.to_numpy()
    features = features[EIGHT] if contender in RAW else features
    known, asked, y, actual = train_test_split(features, target, test_size=0.2, random_state=seed)
    recipe = recipes(training.exposure)[contender]
    began, tried = time.perf_counter(), []
    if recipe.search:
        budget = recipe.search.model_copy(update={"seconds": seconds, "trials": 1000})
        recipe = recipe.model_copy(update={"search": budget})
        tried = trials.search(recipe, known, y, None, seed, lambda sentence: print(sentence, file=sys.stderr))
        recipe = trials.best(recipe, tried)
    searched = time.perf_counter()
    with threadpool_limits(limits=1):
        predicted = unfitted.estimator(recipe, 0).fit(known, y).predict(asked)
    return {
        "rmse": float(root_mean_squared_error(actual, predicted)) / UNIT,
        "trials": len(tried),
        "found": recipe.found,
        "seconds": {"search": searched - began, "fit": time.perf_counter() - searched},
    }


def new_region(contender: str, seed: int, found: dict[str, Any]) -> dict[str, Any]:
    """One contender on one deal of the groups: the error over all held-out folds, and what it took."""
    relation = "features.housing_features_with_surroundings" if contender == "ours" else "features.housing_features"
    training = published(relation)
    features, target = training.features, training.target.to_numpy()
    features = features[EIGHT] if contender in RAW else features
    recipe = recipes(training.exposure)[contender].model_copy(update={"found": found})
    folds = GroupKFold(5, shuffle=True, random_state=seed)
    began, predicted = time.perf_counter(), np.empty(len(target))
    with threadpool_limits(limits=1):
        for known, asked in folds.split(features, groups=training.blocks):
            made = unfitted.estimator(recipe, 0).fit(features.iloc[known], target[known])
            predicted[asked] = made.predict(features.iloc[asked])
    rmse = float(root_mean_squared_error(target, predicted)) / UNIT
    return {"rmse": rmse, "seconds": {"fit": (time.perf_counter() - began) / folds.get_n_splits()}}


def line(title: str, runs: list[dict[str, Any]]) -> str:
    """A row of a table: mean and spread, seconds, memory."""
    errors = [run["rmse"] for run in runs]
    searching = statistics.mean(run["seconds"].get("search", 0.0) for run in runs)
    tried = statistics.mean(run.get("trials", 0) for run in runs)
    cells = [
        title,
        f"{statistics.mean(errors):.3f}",
        f"{statistics.stdev(errors):.3f}" if len(errors) > 1 else "",
        " ".join(f"{error:.3f}" for error in errors),
        f"{searching:.0f} ({tried:.0f})" if searching >= 1 else "",
        f"{statistics.mean(run['seconds']['fit'] for run in runs):.1f}",
        f"{max(run['peak_bytes'] for run in runs) / 1e9:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = """# Leaderboard

Written by `make leaderboard`: root mean squared error of the median house value, in units of 100,000 dollars, on the
lake's published features. Each contender and seed is a process of its own, on two cores at most.

Machine: {cores} cores, {memory_gb} GB, {system}, Python {python}; {versions}.

## Filling in a block group among known ones

Five random splits into 80 and 20 %, seeds 0 to 4. Whatever is searched is searched on the 80 % alone, by the product's
own search, {seconds:.0f} s a split for each that searches; the search of *Tract* begins at the spec's parameters.

"""
REGION = """
## A region never seen

Groups are cells of one degree; five deals of them to five folds, each fold held out once. Nothing is searched: Tract
has the parameters of the spec `housing_value_new_region`, CatBoost those that it found on the random split of the same
seed.

"""
COLUMNS = "| | mean | spread | seeds 0 to 4 | search, s (trials) | fit and predict, s | peak, GB |\n" + "|---" * 7 + "|"


def page(found: dict[str, dict[str, list[dict[str, Any]]]], machine: dict[str, Any], seconds: float) -> str:
    """The page of what was found, by question and contender."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    told = [HEAD.format(**{**machine, "versions": versions}, seconds=seconds) + COLUMNS]
    told += [line(TITLES[name], runs) for name, runs in found["fill in"].items()]
    told += [REGION + COLUMNS]
    told += [line(TITLES[name], runs) for name, runs in found["new region"].items()]
    ours, ridge = (statistics.mean(run["rmse"] for run in found["new region"][name]) for name in ("ours", "ridge"))
    return "\n".join([*told, "", f"Tract's error in a new region is {1 - ours / ridge:.0%} below ridge's.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="budget of each search")
    parser.add_argument("--only", choices=["fill in", "new region"], help="the question to measure; both, if not said")
    parser.add_argument("question", nargs="?", help="what one process answers, from its standard input")
    asked = parser.parse_args()
    os.environ["HOUSING_NEW_REGION"] = "true"  # the second question's model is measured, and the processes below see it
    if asked.question:
        answers: dict[str, Callable[..., object]] = {"fill in": fill_in, "new region": new_region}
        print(json.dumps(answers[asked.question](**json.load(sys.stdin))))
        return
    docs = Path(__file__).resolve().parents[2] / "docs"
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"fill in": {}, "new region": {}}
    if asked.only:
        found = {**json.loads((docs / "leaderboard.json").read_text())["found"], asked.only: {}}

    def run(question: str, contender: str, **told: Any) -> None:
        done, _, peak = measured("tests.bench.leaderboard", question, {"contender": contender, **told})
        found[question].setdefault(contender, []).append({**done, "peak_bytes": peak})
        print(f"  {question:10} {contender:18} seed {told['seed']}: {done['rmse']:.4f}", flush=True)

    for contender in RANDOM if asked.only != "new region" else ():
        for seed in SEEDS:
            run("fill in", contender, seed=seed, seconds=asked.seconds)
    for contender in GROUP if asked.only != "fill in" else ():
        for seed in SEEDS:
            best = found["fill in"]["catboost"][seed]["found"] if contender == "catboost" else {}
            run("new region", contender, seed=seed, found=best)
    machine = facts("scikit-learn", "catboost", "duckdb", "numpy")
    (docs / "leaderboard.json").write_text(json.dumps({"machine": machine, "found": found}, indent=1) + "\n")
    (docs / "leaderboard.md").write_text(page(found, machine, asked.seconds))
    print((docs / "leaderboard.md").read_text())


if __name__ == "__main__":
    main()
