"""Rows that count by a weight: what the spec may say, and that learning, judging and live errors go by it."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml import publishing
from ml.records import champions, tables, versions
from ml.replay import replay
from ml.reports import explanation
from ml.search import search
from ml.spec import CandidateSpec, SearchSpec, Spec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import POINTS
from tests.ml.rows import silent
from tests.ml.test_exposures import manifest, refused
from tests.ml.test_time import publish

BOOSTING = CandidateSpec(
    name="boosting",
    estimator="sklearn.ensemble.HistGradientBoostingRegressor",
    parameters={"max_iter": 5},
    search=SearchSpec(space={"max_iter": [40]}, trials=2),
)
SALES = replace(
    POINTS,
    name="sales",
    relation="features.sales",
    columns={"id": "VARCHAR", "a": "DOUBLE", "b": "DOUBLE", "policies": "INTEGER", "y": "DOUBLE"},
    spec=Spec(key="id", target="y", weight="policies", candidates=("ridge", BOOSTING)),
)


def frame(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Of the rows that count much, y is `a`, of the others `b`; half of each."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    policies = rng.choice([1, 1000], rows)
    y = np.where(policies > 1, a, b) + 0.1 * rng.normal(size=rows)
    return pd.DataFrame({"id": [f"k{i}" for i in range(rows)], "a": a, "b": b, "policies": policies, "y": y})


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (
            "policies",
            "meta.ml.weight is 'policies', which is no column. Columns of features.points: id, a, b, cell, y.",
        ),
        (
            "cell",
            "meta.ml.weight is 'cell', which is VARCHAR. It must be a number: cast it where the table is built.",
        ),
        ("y", "meta.ml.weight is 'y', which is key or target: a weight is a column of its own."),
    ],
)
def test_what_is_no_weight_is_said(weight: str, sentence: str) -> None:
    assert refused(manifest({"weight": weight})) == [f"Exposure points (models/exposures.yml): {sentence}"]


def test_a_weight_is_no_feature_and_in_the_digest() -> None:
    unweighted = replace(SALES, spec=SALES.spec.model_copy(update={"weight": None}))
    assert SALES.features == ("a", "b")
    assert unweighted.features == ("a", "b", "policies")
    excluded = replace(unweighted, columns={name: kind for name, kind in SALES.columns.items() if name != "policies"})
    assert SALES.digest() != excluded.digest() != unweighted.digest()


@pytest.mark.parametrize("weight", [0, -1, None, np.nan, np.inf])
def test_the_build_says_which_weights_are_none(weight: Any) -> None:
    rows = frame(60).astype({"policies": "float64"})
    rows.loc[:2, "policies"] = weight
    rows.loc[:1, "y"] = None  # of these no weight is needed
    with duckdb.connect() as con:
        counts = con.execute(publishing.learnable_sql(SALES, "rows")).fetchall()[0]
    said = publishing.unlearnable(SALES, counts)
    assert said == (
        "policies, the weight, is missing, or no number above zero, in 1 of 60 rows: fill it in, or leave them out"
    )


def test_a_publication_is_learned_and_judged_by_weight(con: duckdb.DuckDBPyConnection) -> None:
    rows = frame()
    first = publish(con, rows, "one")
    ridge = replace(SALES, spec=SALES.spec.model_copy(update={"candidates": (CandidateSpec(name="ridge"),)}))
    said: list[str] = []
    made = consume_and_complete(ridge, say=said.append)
    assert made is not None
    assert made.version_id is not None
    (note,) = [line for line in said if "rows count by policies" in line]
    weights = rows["policies"] / rows["policies"].mean()
    assert f"400 of them tell as much as {weights.sum() ** 2 / (weights**2).sum():,.0f} of equal weight" in note
    version = versions.version(con, "sales", made.version_id)
    assert version is not None
    fitted = versions.load(con, "sales", version)
    theirs = make_pipeline(StandardScaler(), Ridge(version.parameters["alpha"])).fit(
        rows[["a", "b"]], rows["y"], standardscaler__sample_weight=weights, ridge__sample_weight=weights
    )
    # the mean that weights are divided by has six digits
    np.testing.assert_allclose(fitted.predict(rows[["a", "b"]]), theirs.predict(rows[["a", "b"]]), rtol=1e-5)
    assert fitted[-1].coef_[0] > 10 * abs(fitted[-1].coef_[1])

    held = con.execute("from lake.ml.heldout_predictions where split = 'random'").df().merge(rows, on="id")
    measured = dict(
        con.execute(
            "select metric, value from lake.ml.model_metrics where candidate = 'ridge' and slice = 'all'"
        ).fetchall()
    )
    for name, metric in {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}.items():
        expected = metric(held["actual"], held["predicted"], sample_weight=held["policies"])
        assert measured[name] == pytest.approx(expected, rel=1e-9)
    assert measured["rmse"] < 0.2  # 0.7 where each row counts once
    assert measured["coverage"] == held["actual"].between(held["lower"], held["upper"]).mean()  # a share of rows
    assert replay(ridge, first, say=silent).largest_difference == 0

    changed = rows.assign(y=rows["y"] + np.where(rows["policies"] > 1, 1.0, 0.0))
    publish(con, changed, "two")
    consume_and_complete(ridge, say=silent)
    predicted = theirs.predict(changed[["a", "b"]])
    # an unchanged answer was learned from, and says nothing
    count = changed["policies"] > 1
    ((mae,),) = con.execute("select mae from lake.ml.live_errors").fetchall()
    assert mae == pytest.approx(np.abs(changed["y"] - predicted)[count].mean(), rel=1e-4)


def test_trees_are_fitted_explained_and_searched_by_weight(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, frame(600), "one")
    boosted = replace(SALES, spec=SALES.spec.model_copy(update={"candidates": (BOOSTING,)}))
    made = consume_and_complete(boosted, say=silent)
    assert made is not None
    version = versions.version(con, "sales", made.version_id or "")
    assert version is not None
    importance = explanation.explain(con, boosted, version, silent).importance.set_index("feature")["importance_mean"]
    assert importance["a"] > 10 * abs(importance["b"])
    (known, more) = search(boosted, say=silent).trials["boosting"]
    assert more.loss < known.loss
    assert more.loss < 0.4  # 0.8 where each row counts once


def test_an_estimator_without_weights_competes_not(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, frame(), "one")
    nearest = CandidateSpec(name="nearest", estimator="sklearn.neighbors.KNeighborsRegressor")
    both = replace(SALES, spec=SALES.spec.model_copy(update={"candidates": (CandidateSpec(name="ridge"), nearest)}))
    said: list[str] = []
    made = consume_and_complete(both, say=said.append)
    assert made is not None
    assert made.outcome == "trained"
    assert (
        "A candidate competes no more: candidate nearest: KNeighborsRegressor.fit takes no sample_weight, and rows "
        "have a weight (meta.ml.weight): leave the weight out, or name an estimator that takes it." in said
    )


def test_a_champion_of_another_weight_defends_nothing(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, frame(), "one")
    unweighted = replace(SALES, spec=SALES.spec.model_copy(update={"weight": None}))
    assert consume_and_complete(unweighted, say=silent) is not None
    publish(con, frame(seed=1), "two")
    made = consume_and_complete(SALES, say=silent)
    assert made is not None
    assert made.reason.startswith("first model, better than the mean predictor")
    assert champions.with_champions(con) == ["sales"]


def test_classes_are_learned_and_judged_by_weight(con: duckdb.DuckDBPyConnection) -> None:
    rows = frame(600)
    rows["y"] = (rows["y"] + np.random.default_rng(1).normal(size=600) > 0).astype(bool)
    bought = replace(
        SALES,
        columns={**SALES.columns, "y": "BOOLEAN"},
        spec=SALES.spec.model_copy(update={"candidates": (CandidateSpec(name="logistic"),), "predictions": "bought"}),
    )
    for statement in tables.statements([bought]):
        con.execute(statement)
    publish(con, rows, "one")
    made = consume_and_complete(bought, say=silent)
    assert made is not None
    version = versions.version(con, "sales", made.version_id or "")
    assert version is not None
    weights = rows["policies"] / rows["policies"].mean()
    given = {"standardscaler__sample_weight": weights, "logisticregression__sample_weight": weights}
    theirs = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10)).fit(rows[["a", "b"]], rows["y"], **given)
    fitted = versions.load(con, "sales", version)
    if hasattr(fitted, "estimators_"):  # calibrated
        fitted = fitted.estimators_[0]
    np.testing.assert_allclose(fitted[-1].coef_, theirs[-1].coef_, rtol=1e-4)
    held = con.execute(
        "select id, probabilities['true'] as probability from lake.ml.heldout_bought where split = 'random'"
    ).df()
    held = held.merge(rows, on="id")
    ((measured,),) = con.execute(
        "select value from lake.ml.model_metrics where candidate = 'logistic' and metric = 'log_loss' and slice = 'all'"
    ).fetchall()
    expected = log_loss(held["y"], held["probability"], sample_weight=held["policies"])
    assert measured == pytest.approx(expected, rel=1e-9)
