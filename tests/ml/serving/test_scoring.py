"""Predictions as rows of the warehouse, by SQL and by batches, are the estimator's own, and never beyond memory."""

from dataclasses import replace

import duckdb
import numpy as np
import pytest

from ml import consumption, lake
from ml.exposures import Exposure
from ml.lake.artifacts import Artifact
from ml.learning.fits import EstimatorError
from ml.learning.intervals import ExpectedError, Spread
from ml.linear import predict_sql as linear_sql
from ml.linear.predict_sql import ParityError
from ml.records.versions import Version
from ml.serving import scoring
from ml.spec import CandidateSpec
from tests.ml.conftest import Publish
from tests.ml.learning.unruly import Unruly
from tests.ml.rows import Rows, candidate, frame, published, silent, trained_on

NOWHERE = Artifact("", "")


def version(half_width: float, minimum: float | None = None, **slopes: float) -> Version:
    spread = Spread(1.0, ExpectedError(half_width, slopes, 0.0, 1e9), minimum)
    return Version("v", "ridge", ("a", "b"), {"spread": spread.to_json()}, NOWHERE, NOWHERE)


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
@pytest.mark.parametrize("batch", [100_000, 64])
def test_every_row_is_predicted_as_the_estimator_does(
    name: str, batch: int, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH", batch)
    rows = frame(3000)
    estimator = candidate(name, trained_on(rows, exposure)).fit().estimator
    with duckdb.connect() as con:
        publication = published(con, rows)
        with scoring.predicted(
            con, exposure, publication, version(100.0, 0.0, b=2.0, prediction=0.1), estimator, silent
        ) as table:
            found = con.execute(f"from {table}").df()
    both = rows.merge(found, on="id")
    assert len(found) == len(both) == 3000
    expected = estimator.predict(rows[["a", "b"]])
    np.testing.assert_allclose(both["prediction"], expected, rtol=1e-12)
    half = 100 + 2 * rows["b"] + 0.1 * expected
    np.testing.assert_allclose(both["lower"], np.maximum(expected - half, 0), rtol=1e-10, atol=1e-10)
    assert 0 < (both["lower"] == 0).sum() < 3000
    np.testing.assert_allclose(both["upper"], expected + half, rtol=1e-12)


def test_parity_fails_before_anything_is_written(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    monkeypatch.setattr(linear_sql, "predict_sql", lambda estimator, features: "1.0::double")
    with pytest.raises(ParityError, match="may not serve"):
        consumption.consume(exposure, say=silent)
    for table in ("ops.consumptions", "ml.model_versions", "ml.predictions"):
        assert con.execute(f"select count(*) from lake.{table}").fetchall() == [(0,)]


def test_gradient_boosting_learns_and_predicts_in_the_lake(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH", 100)  # several batches into one insert
    boosted = replace(
        exposure,
        spec=exposure.spec.model_copy(update={"candidates": (CandidateSpec(name="gradient_boosting"),)}),
    )
    publish(rows=1000)
    made = consumption.consume(boosted, say=silent)
    assert made is not None
    assert (made.outcome, made.predicted_rows) == ("trained", 1000)
    with lake.connect() as reader:
        off = reader.execute(
            """
            select count(*), count(distinct id), avg(abs(prediction - y)), count(distinct version_id)
            from lake.ml.predictions join lake.features.points using (id)
            """
        ).fetchone()
        files = reader.execute("select file_count from ducklake_table_info('lake') where table_name = 'predictions'")
        assert files.fetchall() == [(1,)]
    assert off is not None
    assert off[:2] == (1000, 1000)
    assert off[2] < 1


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("predict", "it cannot predict: RuntimeError: nobody taught me"),
        ("nan", "it predicts NaN, infinity or beyond 1e+150 in 1 of 200 rows"),
        ("column", "it predicts the shape (200, 1) for 200 rows, not a number for each"),
    ],
)
def test_an_estimator_that_fails_is_named_and_leaves_the_connection_usable(
    how: str, why: str, exposure: Exposure
) -> None:
    rows = frame()
    estimator = Unruly(how).fit(rows[["a", "b"]], rows["y"])
    with duckdb.connect() as con:
        publication: Rows = published(con, rows)
        with (
            pytest.raises(EstimatorError) as error,
            scoring.predicted(con, exposure, publication, version(1.0), estimator, silent) as table,
        ):
            con.execute(f"from {table}").fetchall()
        assert str(error.value) == f"Version v of points, ridge, fails on points@1: {why}."
        assert con.execute("select count(*) from published").fetchall() == [(200,)]
