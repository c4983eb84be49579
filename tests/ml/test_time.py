"""A table with a time: what its spec may say, and from a publication to versions, metrics, replay and search."""

from dataclasses import replace
from typing import Any

import duckdb
import pandas as pd
import pytest

from ml import publishing
from ml.exposures import Exposure
from ml.manifest import SpecError, read_exposures
from ml.records import publications, versions
from ml.replay import replay
from ml.reports import card, explanation, pictures
from ml.reports import facts as version_facts
from ml.search import search
from ml.spec import CandidateSpec, SearchSpec
from tests.ml.completed import consume_and_complete
from tests.ml.rows import silent
from tests.ml.test_exposures import manifest, refused
from tests.ml.timed import exposure, frame

COLUMNS = {"id": "varchar", "a": "double", "b": "double", "cell": "varchar", "at": "timestamp", "y": "double"}
HAS = "Columns of features.points: id, a, b, cell, at, y."
POINTS = "Exposure points (models/exposures.yml)"


def asked(**ml: Any) -> Exposure:
    (found,) = read_exposures(manifest(ml, columns=COLUMNS))
    return found


def test_a_time_is_no_feature_and_splits_alone() -> None:
    found = asked(time="at", split="time", backtest={"folds": 8, "gap": "30 days", "window": "rolling"})
    assert found.features == ("a", "b")
    assert (found.spec.splits, found.spec.judged_folds) == (("time",), 8)
    by_chance = asked(time="at")
    assert by_chance.features == ("a", "b")
    assert (by_chance.spec.splits, by_chance.spec.judged_folds) == (("random", "group"), 5)
    assert asked().features == ("a", "b", "at")


@pytest.mark.parametrize(
    ("ml", "sentence"),
    [
        ({"split": "time"}, f"meta.ml.split is 'time', but meta.ml.time names no column. {HAS}"),
        ({"time": "when"}, f"meta.ml.time is 'when', which is no column. {HAS}"),
        (
            {"time": "a", "split": "time"},
            "meta.ml.time is 'a', which is DOUBLE. It must be a date or a timestamp: cast it where the table is built.",
        ),
        (
            {"time": "at", "backtest": {"folds": 3}},
            "meta.ml.backtest is for meta.ml.split: time, and the split is 'random': leave one of them out.",
        ),
        (
            {"time": "at", "split": "time", "folds": 3},
            "meta.ml.folds deals rows by chance, and meta.ml.split is 'time': say meta.ml.backtest.folds.",
        ),
        (
            {"time": "at", "split": "time", "slices": {"period": "a"}},
            "meta.ml.slices names 'period', which is what meta.ml.split: time calls its slices: rename it.",
        ),
        (
            {"time": "at", "features": {"include": ["at", "a"]}},
            "meta.ml.features.include names 'at', which is key, target, group, time or weight: those are no features. "
            "Give what is learned from a column of its own where the table is built.",
        ),
        (
            {"time": "at", "split": "time", "backtest": {"fold": 3}},
            "meta.ml.backtest.fold is not known. Allowed: folds, gap, window.",
        ),
        (
            {"time": "at", "split": "time", "backtest": {"gap": "a month"}},
            "meta.ml.backtest.gap is 'a month'. String should match pattern "
            r"'^\d{1,4} (second|minute|hour|day|week|month|year)s?$'.",
        ),
        (
            {"time": "at", "split": "time", "backtest": {"window": "sliding"}},
            "meta.ml.backtest.window is 'sliding'. Input should be 'expanding' or 'rolling'.",
        ),
    ],
)
def test_what_does_not_fit_is_said(ml: dict[str, Any], sentence: str) -> None:
    assert refused(manifest(ml, columns=COLUMNS)) == [f"{POINTS}: {sentence}"]


def test_the_time_may_be_the_key_or_the_group() -> None:
    columns = {**COLUMNS, "id": "timestamp"}
    (found,) = read_exposures(manifest({"time": "id", "split": "time"}, columns=columns))
    assert found.features == ("a", "b", "at")
    (found,) = read_exposures(manifest({"time": "at", "group": "at"}, columns=COLUMNS))
    assert found.features == ("a", "b", "cell")
    with pytest.raises(SpecError, match=r"the target at of features\.points is TIMESTAMP, neither a number nor a c"):
        read_exposures(manifest({"time": "at", "target": "at"}, columns=COLUMNS))


def test_what_decides_how_time_cuts_is_in_the_digest() -> None:
    by_time: dict[str, Any] = {"time": "at", "split": "time"}
    specs: list[dict[str, Any]] = [
        {"features": {"exclude": ["at"]}},
        {"time": "at"},
        by_time,
        {**by_time, "backtest": {"folds": 4}},
        {**by_time, "backtest": {"gap": "1 day"}},
        {**by_time, "backtest": {"window": "rolling"}},
    ]
    assert len({asked(**ml).digest() for ml in specs}) == len(specs)
    assert asked(**by_time).digest() == asked(**by_time, backtest={"folds": 5}).digest()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows, ""),
        (
            lambda rows: rows.assign(at=rows["at"].where(rows.index > 2)),
            "at, the time, is missing in 3 of 60 rows: fill them in, or leave them out",
        ),
        (
            lambda rows: rows.assign(at=rows["at"].min()),
            "at has 1 distinct times, and 5 folds by time need 6 (meta.ml.backtest.folds)",
        ),
        (
            lambda rows: rows.head(4),
            "it has 4 rows, and 5 folds need at least as many (meta.ml.backtest.folds)",
        ),
        (lambda rows: rows.assign(shop="one"), ""),  # groups are not held out
        # nor is a time needed where there is no answer yet
        (lambda rows: rows.assign(y=rows["y"].where(rows.index > 2), at=rows["at"].where(rows.index > 2)), ""),
    ],
)
def test_the_build_says_what_time_cannot_cut(change: Any, said: str) -> None:
    rows = change(frame(60))  # noqa: F841 (read by the query)
    with_groups = exposure(group="shop")
    with duckdb.connect() as con:
        counts = con.execute(publishing.learnable_sql(with_groups, "rows")).fetchall()[0]
    assert publishing.unlearnable(with_groups, counts) == said


def publish(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame, invocation: str) -> str:
    """Build and publish features.sales; the publication's id."""
    con.execute("begin")
    con.execute("create or replace table lake.features.sales as from rows")
    con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => 'features.sales')")
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, "features.sales")).fetchall()
    con.execute(publications.insert_sql(invocation, "features.sales", str(snapshot)))
    return f"features.sales@{snapshot}"


def test_a_publication_is_judged_by_time_predicted_explained_repeated_and_searched(
    con: duckdb.DuckDBPyConnection,
) -> None:
    boosting = CandidateSpec(
        name="boosting",
        estimator="sklearn.ensemble.HistGradientBoostingRegressor",
        parameters={"max_iter": 5},
        search=SearchSpec(space={"max_iter": [40, 60]}, trials=2),
    )
    sales = exposure(backtest={"gap": "7 days"}, candidates=("ridge", boosting), slices={"shop": "shop"})
    rows = frame(600)
    waiting = rows.tail(40).assign(id=lambda rows: "n" + rows["id"], y=None)
    first = publish(con, pd.concat([rows, waiting], ignore_index=True), "one")
    made = consume_and_complete(sales, say=silent)
    assert made is not None
    assert (made.outcome, made.champion_id) == ("trained", made.version_id)
    assert "(time folds)" in made.reason
    found = con.execute(
        """
        select split, count(distinct fold), min(fold), bool_and((lower is null) = (fold = 1))
        from lake.ml.heldout_predictions group by 1
        """
    ).fetchall()
    assert found == [("time", 5, 1, True)]
    coverage = con.execute(
        """
        select slice, value from lake.ml.model_metrics
        where split = 'time' and metric = 'coverage' and candidate = 'ridge' and slice like 'period: %' order by 1
        """
    ).fetchall()
    assert len(coverage) == 4
    assert [value for _, value in coverage] == pytest.approx([0.9] * 4, abs=0.12)
    # rows whose answer is not known yet are predicted, with intervals
    predicted = con.execute(
        "select count(*) filter (where lower < prediction and prediction < upper) from lake.ml.predictions"
    ).fetchall()
    assert predicted == [(640,)]

    again = replay(sales, first, say=silent)
    assert again.largest_difference == 0
    version = versions.version(con, "sales", made.version_id or "")
    assert version is not None
    explained = explanation.explain(con, sales, version, silent)
    assert set(explained.importance["split"]) == {"time"}
    assert set(explained.importance["heldout_rows"]) == {102}  # three rows a day, which stay together
    # of another spec's day the version is explained as it was judged
    by_chance = replace(sales, spec=sales.spec.model_copy(update={"split": "random", "time": None}))
    pd.testing.assert_frame_equal(explanation.explain(con, by_chance, version, silent).importance, explained.importance)
    facts = version_facts.read(con, sales, version.version_id)
    assert "period: from 2026-06-" in card.to_html(facts, [])
    assert pictures.coverage(facts.metrics, version.candidate, "time", 0.9)

    publish(con, frame(700, seed=1, days=230), "two")
    refreshed = consume_and_complete(sales, say=silent)
    assert refreshed is not None
    assert refreshed.outcome == "refreshed"
    tried = search(sales, say=silent).trials["boosting"]
    assert [trial.folds for trial in tried] == [3, 3]
    assert tried[1].loss < tried[0].loss


def test_another_way_to_split_begins_anew(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, frame(300), "one")
    by_chance = exposure(split="random")
    before = consume_and_complete(by_chance, say=silent)
    assert before is not None
    publish(con, frame(300, seed=1), "two")
    after = consume_and_complete(exposure(), say=silent)
    assert after is not None
    assert after.reason.startswith("first model, better than the mean predictor: held-out RMSE ")
    assert "(time folds)" in after.reason
