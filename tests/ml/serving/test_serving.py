"""New rows predicted by the champion: the numbers of ml.predictions, and sentences for rows that do not fit."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml import consumption, serving
from ml.exposures import Exposure
from ml.serving import ServingError
from ml.spec import CandidateSpec
from tests.ml.conftest import Publish
from tests.ml.rows import silent

NUMBERS = ["prediction", "lower", "upper"]


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting"])
def test_published_rows_get_the_numbers_that_stand_in_the_lake(
    candidate: str, con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    asked = exposure.spec.model_copy(update={"candidates": (CandidateSpec(name=candidate),)})
    consumption.consume(replace(exposure, spec=asked), say=silent)
    rows = con.execute("select y, b, a, id from lake.features.points order by random()").df().set_index("id")
    found = serving.predict(con, "points", rows)
    assert list(found.columns) == NUMBERS
    assert list(found.index) == list(rows.index)
    committed = con.execute("select id, prediction, lower, upper from lake.ml.predictions").df().set_index("id")
    np.testing.assert_allclose(found[NUMBERS], committed.loc[rows.index, NUMBERS], rtol=1e-9)
    one = serving.predict(con, "points", rows.iloc[[7]])
    pd.testing.assert_frame_equal(one, found.iloc[[7]], rtol=1e-12)
    assert serving.predict(con, "points", rows.iloc[:0]).shape == (0, 3)


def test_rows_that_cannot_be_predicted_say_why(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    with pytest.raises(ServingError, match=r"^Exposure points has no champion yet\.$"):
        serving.predict(con, "points", rows)
    publish()
    consumption.consume(exposure, say=silent)
    with pytest.raises(ServingError, match=r"^Exposure houses has no champion yet; those that have one: points\.$"):
        serving.predict(con, "houses", rows)
    with pytest.raises(
        ServingError, match=r"of points needs the column b\. It learned from a, b; the rows have a, c\.$"
    ):
        serving.predict(con, "points", rows.rename(columns={"b": "c"}))
    with pytest.raises(ServingError, match=r"needs finite numbers\. Missing or infinite: b in 1 of 2 rows\.$"):
        serving.predict(con, "points", rows.assign(b=[1.0, np.nan]))
    with pytest.raises(ServingError, match=r"needs numbers: could not convert string to float: 'much'\.$"):
        serving.predict(con, "points", rows.assign(a="much"))


@pytest.mark.parametrize("minimum", [None, 0.0])
def test_an_interval_ends_where_the_target_cannot_be(
    minimum: float | None, con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    asked = replace(exposure, spec=exposure.spec.model_copy(update={"minimum": minimum}))
    consumption.consume(asked, say=silent)
    far = serving.predict(con, "points", pd.DataFrame({"a": [-1e6], "b": [0.0]}))
    lower, upper = far["lower"].item(), far["upper"].item()
    assert far["prediction"].item() < -1e6
    if minimum is None:
        assert lower < far["prediction"].item() < upper < 0
    else:
        assert (lower, upper) == (0.0, 0.0)


def test_a_champion_that_predicts_no_number_says_so(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    moody = CandidateSpec(name="moody", estimator="tests.ml.learning.unruly.Moody")
    made = consumption.consume(
        replace(exposure, spec=exposure.spec.model_copy(update={"candidates": (moody,)})), say=silent
    )
    assert made is not None
    rows = pd.DataFrame({"a": [1.0, 101.0], "b": [0.0, 0.0]})
    assert serving.predict(con, "points", rows[:1])["prediction"].item() == pytest.approx(1003, abs=1)
    with pytest.raises(ServingError) as error:
        serving.predict(con, "points", rows)
    why = "it predicts NaN, infinity or beyond 1e+150 in 1 of 2 rows"
    assert str(error.value) == f"Champion {made.champion_id} of points fails on these rows: {why}."
