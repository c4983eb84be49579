"""The bench's figures as markdown."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.bench.measure import COLUMNS, WATCHING, Measure

TITLES = {
    "ours": "Tract",
    "recipe": "the recipe we start from",
    "polars": "polars and `RidgeCV` in one process, without keys",
    "Spark ML": "Spark ML in one process, one penalty, without keys",
    "H2O": "H2O's GLM, 30 penalties and 5 folds, without keys",
    "scikit-learn": "scikit-learn's grid search, reading and fitting",
}
LIMITS = {
    "copy": "DuckDB's copy of the features",
    "made": "DuckDB's copy of the features, made of what landed",
    "scan": "DuckDB's scan of the features",
    "predictions": "DuckDB's copy of the key and three doubles made of the features",
}

HEAD = """# Learning, measured

Written by `make bench`: the real block groups over and over, each copy with noise of its own, landed; then the
project's own SQL makes the features, ridge is fitted with 30 penalties and 5 group folds, every row is predicted and
written. *Tract* is the product's own way, a table of the lake and one consumption, with {memory_limit} for DuckDB.
*The recipe we start from* is pandas, `StandardScaler`, `RidgeCV(alphas=logspace(-3, 1, 30))` and parquet through s3fs,
a process a task; it has no keys, no folds, no held-out predictions and no intervals. Seconds are those of the stages,
imports aside; memory is the resident memory of all processes of the contender, DuckDB's and Python's.

Machine: {cores} cores, {memory_gb} GB, {system}, Python {python}; {versions}.

![Time and memory against rows](bench.png)
"""


def page(measures: Sequence[Measure], machine: Mapping[str, Any]) -> list[str]:
    """The page: what was measured, on what, and the figures."""
    named = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [HEAD.format(**{**machine, "versions": named}), *lines(measures)]


def lines(measures: Sequence[Measure]) -> list[str]:
    """A table a size and storage, and the ratios that follow from it."""
    by_case: dict[tuple[int, str], dict[str, Measure]] = {}
    for measure in measures:
        by_case.setdefault((measure.rows, measure.storage), {})[measure.contender] = measure
    told = []
    for (rows, storage), found in by_case.items():
        told += [f"## {rows / 1e6:g} million rows, {storage}", "", *_table(found), "", *_ratios(found), ""]
    return told + _scaling(by_case)


def _scaling(by_case: Mapping[tuple[int, str], Mapping[str, Measure]]) -> list[str]:
    """How the time a row grows from a size to the next, on each storage."""
    told = []
    cases = sorted(by_case, key=lambda case: (case[1], case[0]))
    for (small, storage), (large, other) in pairwise(cases):
        if storage == other:
            each = [by_case[rows, storage]["ours"].total / rows * 1e6 for rows in (small, large)]
            told.append(
                f"- {storage}: {each[0]:.2f} s for a million rows at {small / 1e6:g} million, {each[1]:.2f} s at "
                f"{large / 1e6:g} million ({each[1] / each[0] - 1:+.0%})."
            )
    return ["## Time per row", "", *told, ""] if told else []


def _table(found: dict[str, Measure]) -> list[str]:
    ours = found["ours"].total
    heads = ["", *(f"{name}, s" for name in COLUMNS), "in all, s", "times ours", "peak, GB"]
    told = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, title in TITLES.items():
        if measure := found.get(name):
            columns = [_seconds(measure.column(column)) for column in COLUMNS]
            told.append(
                f"| {title} | {' | '.join(columns)} | {measure.total:.1f} | {measure.total / ours:.1f} "
                f"| {measure.peak_bytes / 1e9:.2f} |"
            )
    limit = found["limit"]
    for stage, title in LIMITS.items():
        if stage not in limit.seconds:  # measured before there was such a stage
            continue
        told.append(
            f"| {title} | | | | {limit.seconds[stage]:.1f} "
            f"| {limit.seconds[stage] / ours:.2f} | {limit.peak_bytes / 1e9:.2f} |"
        )
    return told


def _ratios(found: dict[str, Measure]) -> list[str]:
    ours = found["ours"]
    told = [
        f"- All of ours takes {ours.total / found['limit'].seconds['copy']:.1f} times the bare copy; publishing (the "
        f"fingerprint, one scan) another {ours.seconds['publish']:.1f} s; the two whole processes, with their start "
        f"and imports, {ours.processes:.1f} s.",
    ]
    if all(stage in ours.seconds for stage in WATCHING):
        watching = sum(ours.seconds[stage] for stage in WATCHING)
        told.append(
            "- Where a champion serves already, holding the new rows against its own (drift) and its predictions "
            f"against their true values (live error) takes another {watching:.1f} s."
        )
    if recipe := found.get("recipe"):
        fit, theirs = ours.column("fit"), recipe.column("fit")
        assert fit and theirs
        told.append(
            f"- The recipe takes {recipe.total / ours.total:.0f} times ours in all, "
            f"{theirs / fit:.0f} times in fitting."
        )
    if moments := found.get("moments"):
        s = moments.seconds
        told.append(
            f"- A bare query for the moments {s['bare moments']:.2f} s, fitting with 30 penalties over 5 folds "
            f"{s['fit by 5 folds']:.2f} s, by leave-one-out {s['fit by leave-one-out']:.2f} s: "
            f"{s['fit by 5 folds'] / s['bare moments']:.1f} and "
            f"{s['fit by leave-one-out'] / s['bare moments']:.1f} times the query."
        )
        limit = found["limit"].seconds
        if "predictions" in limit:
            bare = limit["copy"] + s["bare moments"] + limit["predictions"]
            told.append(
                "- The three bare queries that nobody can spare, the copy, the moments and the copy of predictions, "
                f"take {bare:.1f} s together, {bare / limit['copy']:.1f} times the copy; all of ours takes "
                f"{ours.total / bare:.2f} times these three."
            )
            if "made" in limit:
                made = bare - limit["copy"] + limit["made"]
                told.append(
                    "- With a copy that makes the features of what landed, as ours does, these three take "
                    f"{made:.1f} s, and all of ours {ours.total / made:.2f} times that."
                )
    if correct := found.get("correct"):
        told.append(
            f"- Coefficients on {correct.found['rows']:,} rows differ from scikit-learn's (svd, float64) by "
            f"{correct.found['largest_relative_difference']:.0e} at most."
        )
    return told + _logistic(found)


def _logistic(found: dict[str, Measure]) -> list[str]:
    """Classes: the fit in the warehouse beside scikit-learn's."""
    ours, theirs = found.get("logistic"), found.get("scikit-learn's logistic")
    if ours is None:
        return []
    s = ours.seconds
    told = [
        f"- Logistic regression of the same rows as classes takes {s['logistic fit']:.1f} s and "
        f"{ours.peak_bytes / 1e9:.2f} GB in the warehouse ({ours.found['steps']} scans), "
        f"{s['logistic fit and 5 folds']:.1f} s with a fit for each of 5 folds."
    ]
    if theirs:
        of_theirs = theirs.seconds
        differences = [abs(a - b) for a, b in zip(ours.found["slopes"], theirs.found["slopes"], strict=True)]
        told.append(
            f"- scikit-learn's, behind its scaler, takes {sum(of_theirs.values()):.1f} s and "
            f"{theirs.peak_bytes / 1e9:.2f} GB, {of_theirs['logistic read']:.1f} s of it to read the rows into pandas: "
            f"one fit, whose slopes differ by {max(differences):.0e} at most."
        )
    return told


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
