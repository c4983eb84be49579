"""Columns as people have them are learned from and predicted, by SQL, in batches, and by the saved file alone."""

import io
import pickle
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml import serving
from ml.records import champions, versions
from ml.serving import ServingError
from ml.spec import CandidateSpec, FeaturesSpec
from tests.ml import mixed
from tests.ml.completed import consume_and_complete
from tests.ml.mixed import AREA, CODE, FEATURES, OPEN, SINCE, SIZE, WHERE, publish
from tests.ml.rows import silent

NEIGHBOURS = CandidateSpec(name="neighbours", estimator="sklearn.neighbors.KNeighborsRegressor")
NUMBERS = ["prediction", "lower", "upper"]


def saved(con: duckdb.DuckDBPyConnection) -> Any:
    champion = champions.champion(con, "mixed")
    assert champion is not None
    return versions.load(con, "mixed", champion)


def loaded_from(model: Any) -> set[str]:
    """The packages that a model's file is loaded from."""
    packages = set()

    class Loading(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            packages.add(module.partition(".")[0])
            return super().find_class(module, name)

    Loading(io.BytesIO(pickle.dumps(model))).load()
    return packages


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting", NEIGHBOURS])
def test_columns_are_learned_from_as_they_are(candidate: str | CandidateSpec, con: duckdb.DuckDBPyConnection) -> None:
    exposure, rows = mixed.exposure(candidate), mixed.frame()
    publish(con, rows, "first")
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    assert made.predicted_rows == len(rows)
    assert made.metrics["rmse"] < 0.9 * made.baseline["rmse"]
    assert made.metrics["coverage"] == pytest.approx(0.9, abs=0.05)
    query = 'select "row no", prediction, lower, upper from lake.ml.mixed_predictions where publication_id = ?'
    committed = con.execute(query, [made.publication.publication_id]).df().set_index("row no")[NUMBERS]
    # the same numbers for a frame of raw columns, in any order
    raw = rows.set_index("row no").sample(frac=1, random_state=0)
    found = serving.predict(con, "mixed", raw)
    np.testing.assert_allclose(found[NUMBERS], committed.loc[raw.index, NUMBERS], rtol=1e-9)
    # and by the saved file alone
    model = saved(con)
    np.testing.assert_allclose(model.predict(raw[list(FEATURES)]), found["prediction"], rtol=1e-9)
    assert loaded_from(model) <= {"builtins", "copyreg", "datetime", "functools", "numpy", "pandas", "scipy", "sklearn"}
    # as the model card has it
    published = con.sql("from lake.features.mixed").df()
    again = model.predict(published[list(model.feature_names_in_)])
    np.testing.assert_allclose(again, committed.loc[published["row no"], "prediction"], rtol=1e-9)

    # levels that were never seen, NULL where there was none, and days to come
    changes: dict[str, Any] = {WHERE: "never seen", CODE: 7, AREA: np.nan, SINCE: pd.Timestamp("2030-01-01")}
    others = mixed.frame(300, seed=1).assign(**changes)
    publish(con, others, "second")
    said: list[str] = []
    second = consume_and_complete(exposure, say=said.append)
    assert second is not None
    assert second.predicted_rows == 300
    drift = con.execute("select column_name, psi, ks from lake.ml.drift").df().set_index("column_name")
    assert set(drift.index) == {*FEATURES, "prediction"}
    moved, still = drift.loc[[WHERE, CODE, AREA, SINCE]], drift.loc[[SIZE, OPEN]]
    assert moved["psi"].min() > 1
    assert moved["ks"].min() > 0.85  # a tenth of the dates is NULL, then and now
    assert still["psi"].max() < 0.1
    assert still["ks"].max() < 0.15


def test_the_same_rows_are_predicted_whatever_pandas_holds_them_in(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, mixed.frame(), "first")
    consume_and_complete(mixed.exposure("gradient_boosting"), say=silent)
    rows = mixed.frame(50, seed=2)
    expected = serving.predict(con, "mixed", rows)
    held = pd.DataFrame(
        {
            SIZE: rows[SIZE].astype(object).where(rows[SIZE].notna(), None),
            WHERE: rows[WHERE].astype("category"),
            OPEN: rows[OPEN].astype("boolean"),
            SINCE: rows[SINCE].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
            CODE: rows[CODE].astype("Int64"),
            AREA: rows[AREA],
        }
    )
    pd.testing.assert_frame_equal(serving.predict(con, "mixed", held), expected)
    np.testing.assert_array_equal(saved(con).predict(held), expected["prediction"])


def test_rows_of_another_kind_are_refused_with_a_sentence(con: duckdb.DuckDBPyConnection) -> None:
    publish(con, mixed.frame(), "first")
    consume_and_complete(mixed.exposure(), say=silent)
    rows = mixed.frame(4, missing=0.0)
    for wrong, sentence in (
        ({SIZE: "much"}, rf"of mixed needs numbers in {SIZE}: could not convert string to float: 'much'\.$"),
        ({WHERE: 3}, r"of mixed needs texts in select: 3 is no text\.$"),
        ({SINCE: "yesterday's"}, r"of mixed needs dates in seit wann: "),
        ({AREA: [1.0, np.inf, -np.inf, 2.0]}, r"needs finite numbers\. Infinite: AREA in 2 of 4 rows\.$"),
    ):
        with pytest.raises(ServingError, match=sentence):
            serving.predict(con, "mixed", rows.assign(**wrong))


def test_a_champion_of_numbers_alone_does_not_predict_what_has_null_and_its_recipe_is_learned_anew(
    con: duckdb.DuckDBPyConnection,
) -> None:
    asked = mixed.exposure()
    numbers = asked.spec.model_copy(update={"features": FeaturesSpec(include=(AREA,))})
    asked = replace(asked, spec=numbers)
    rows = mixed.frame().assign(y=lambda rows: 100 + 9 * rows[AREA])
    publish(con, rows, "first")
    consume_and_complete(asked, say=silent)
    second = publish(con, rows.assign(**{AREA: rows[AREA].where(rows.index % 9 > 0)}), "second")
    said: list[str] = []
    made = consume_and_complete(asked, say=said.append)
    assert made is not None
    why = f"learned from rows that have all values, and {second} has NULL in AREA: it competes no more."
    assert any(sentence.endswith(why) for sentence in said)
    assert (made.predicted_rows, made.champion_id) == (600, made.version_id)
