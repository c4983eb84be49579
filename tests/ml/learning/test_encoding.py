"""What is learned of columns is learned within each fit, and estimators get what they take."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml.learning import candidates, notes, training_set, trials, unfitted
from ml.learning.encoding import Encoding
from ml.learning.fits import EstimatorError
from ml.learning.linear_terms import MOST_LEVELS
from ml.learning.published import RowsError
from ml.learning.training_set import TrainingSet
from ml.linear.terms import Level
from ml.spec import CandidateSpec, FeaturesSpec, SearchSpec
from tests.ml.conftest import POINTS
from tests.ml.rows import candidate, frame, published, silent, trained_on

BOOSTING = CandidateSpec(name="gradient_boosting")


def training_on(rows: pd.DataFrame, categorical: tuple[str, ...] = (), **kinds: str) -> TrainingSet:
    """Of rows of the exposure `points` with more columns, as given."""
    columns = {"id": "VARCHAR", "cell": "VARCHAR", "a": "DOUBLE", "b": "DOUBLE", **kinds, "y": "DOUBLE"}
    spec = POINTS.spec.model_copy(update={"features": FeaturesSpec(categorical=categorical)})
    return trained_on(rows, replace(POINTS, columns=columns, spec=spec))


def test_plain_tables_are_learned_from_without_an_encoder() -> None:
    training = trained_on(frame(), POINTS)
    assert training.plain
    assert training.encoding is None
    assert isinstance(candidate("gradient_boosting", training).fit().estimator, HistGradientBoostingRegressor)
    with_boolean = training_on(frame().assign(yes=lambda rows: rows["a"] > 5), yes="BOOLEAN")
    assert with_boolean.plain


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_levels_that_say_nothing_help_no_held_out_row(name: str) -> None:
    random = np.random.default_rng(0)
    rows = frame(2_000).assign(who=[f"w{i}" for i in random.integers(0, 700, 2_000)], y=random.normal(size=2_000))
    training = training_on(rows, who="VARCHAR")
    error = candidate(name, training).held_out("random") - training.target
    assert np.sqrt(np.mean(np.square(error))) > 0.98 * training.target.std()


def test_ridge_tells_the_most_frequent_levels_apart_and_no_rare_ones() -> None:
    rows = frame(600).assign(
        name=lambda rows: "n" + rows["id"], s=[f"s{i % 80 if i < 400 else i % 3}" for i in range(600)]
    )
    terms = training_on(rows, name="VARCHAR", s="VARCHAR").terms
    levels = [term.level for term in terms if isinstance(term, Level) and term.column == "s"]
    assert len(levels) == MOST_LEVELS
    assert {"s0", "s1", "s2"} < set(levels)
    # a level must be there for scikit-learn: NULL, which no row is
    assert [term.level for term in terms if isinstance(term, Level) and term.column == "name"] == [None]


def test_a_held_out_row_decides_nothing_of_its_own_prediction() -> None:
    rows = frame(400).assign(who=[f"w{i % 90}" for i in range(400)], n=lambda rows: rows["a"].where(rows.index % 3 > 0))
    training = training_on(rows, who="VARCHAR", n="DOUBLE")
    held = training.fold("random") == 0
    for name in ("ridge", "gradient_boosting"):
        before = candidate(name, training).held_out("random")[held]
        others = ~rows["id"].isin(training.sample["id"][held])
        changed = training_on(rows.assign(y=rows["y"].where(others, rows["y"] + 1e6)), who="VARCHAR", n="DOUBLE")
        np.testing.assert_allclose(candidate(name, changed).held_out("random")[held], before, rtol=1e-6)


def test_boosting_gets_its_own_categories_up_to_its_bins_and_means_beyond() -> None:
    rows = frame(2_000).assign(few=[f"f{i % 250}" for i in range(2_000)], many=[f"m{i % 300}" for i in range(2_000)])
    training = training_on(rows.assign(code=rows.index % 7), ("code",), few="VARCHAR", many="VARCHAR", code="INTEGER")
    assert training.encoding is not None
    assert training.encoding.levels == {"few": 250, "many": 300, "code": 7}
    boosting = candidate("gradient_boosting", training).fit().estimator[-1]
    categorical = dict(zip(boosting.feature_names_in_, boosting.is_categorical_, strict=True))
    assert categorical == {"a": False, "b": False, "few": True, "many": False, "code": True}


def test_boosting_is_scikit_learns_own_on_raw_columns() -> None:
    random = np.random.default_rng(1)
    rows = frame(1_000).assign(s=random.choice(np.array(["x", "y", "z", None], object), 1_000))
    rows["n"] = rows["a"].where(random.uniform(size=1_000) > 0.1)
    rows["y"] += 5.0 * (rows["s"] == "x") + 2.0 * rows["n"].isna()
    training = training_on(rows, s="VARCHAR", n="DOUBLE")
    ours, raw = candidate("gradient_boosting", training).held_out("random"), training.features.copy()
    raw["s"] = raw["s"].astype("category")
    for number in range(5):
        held = training.fold("random") == number
        theirs = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
        with threadpool_limits(limits=1):  # on a busy machine OpenMP's threads wait for each other
            expected = theirs.fit(raw[~held], training.target[~held]).predict(raw[held])
        np.testing.assert_array_equal(ours[held], expected)


def test_columns_that_boosting_names_are_kept_and_positions_are_refused() -> None:
    training = training_on(frame(400).assign(s=np.array(["x", "y", None, "z"] * 100, object)), s="VARCHAR")
    made = unfitted.estimator(
        CandidateSpec(name="gradient_boosting", parameters={"categorical_features": ["b"], "monotonic_cst": {"a": 1}}),
        0,
        training.encoding,
    )
    assert made[-1].categorical_features == ["b", "s"]
    for parameters in ({"categorical_features": [1]}, {"monotonic_cst": [1, 0, 0]}, {"interaction_cst": [[0, 1]]}):
        spec = CandidateSpec(name="gradient_boosting", parameters=parameters)
        with pytest.raises(EstimatorError, match=f"{next(iter(parameters))} has positions of columns"):
            unfitted.estimator(spec, 0, training.encoding)
        assert unfitted.estimator(spec, 0) is not None


def test_others_get_columns_of_few_levels_and_names_that_no_column_has() -> None:
    rows = frame(400).assign(s=np.array(["b_c", "c", None, "rare"] * 100, object), s_b=["c", "d"] * 200)
    rows.loc[rows["s"] == "rare", "s"] = [f"rare {i % 30}" for i in range(100)]
    encoding = Encoding({"a": "number", "s": "text", "s_b": "text"}, {"s": 32, "s_b": 2}, (), 0)
    made = encoding.before("k", make_pipeline(StandardScaler(), KNeighborsRegressor()))
    assert [name for name, _ in made.steps] == ["raw_columns", "standardscaler", "kneighborsregressor"]
    names = made.fit(rows[["a", "s", "s_b"]], rows["y"])[0].get_feature_names_out()
    assert list(names) == ["a", "s = 'b_c'", "s = 'c'", "s = nan", "s = 'infrequent_sklearn'", "s_b = 'c'", "s_b = 'd'"]


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_a_column_without_any_value_in_a_training_set_is_no_error(name: str) -> None:
    rows = frame(300).assign(once=lambda rows: rows["a"].where(rows["cell"] == "c3"), never=np.nan)
    rows["silent"] = pd.Series([None] * 300, dtype="str")
    training = training_on(rows, once="DOUBLE", never="DOUBLE", silent="VARCHAR")
    for split in ("random", "group"):
        error = candidate(name, training).held_out(split) - training.target
        assert np.sqrt(np.mean(np.square(error))) < 2.5


def test_a_search_learns_of_columns_within_its_folds() -> None:
    rows = frame(300).assign(
        s=np.array(["x", "y", None] * 100, object), y=lambda rows: rows["a"] + 9.0 * (rows["s"] == "x")
    )
    training = training_on(rows, s="VARCHAR")
    asked = SearchSpec(space={"max_leaf_nodes": [2, 31]}, trials=2)
    recipe = BOOSTING.model_copy(update={"search": asked})
    features, target = training.features, np.asarray(training.target, np.float64)
    done = trials.search(recipe, features, trials.Question(target), None, 0, silent, training.encoding)
    assert len(done) == 2
    assert done[0].loss < 2
    with pytest.raises(EstimatorError, match="cannot be searched: "):
        trials.search(recipe, features, trials.Question(target), None, 0, silent)


def test_codes_and_dates_that_are_not_finite_are_named() -> None:
    rows = frame().assign(code=1.0, on=pd.Timestamp("2020-01-01"))
    for change, name in (("code = 'nan'", "code"), ("\"on\" = 'infinity'", "on")):
        columns = {**POINTS.columns, "code": "DOUBLE", "on": "TIMESTAMP"}
        spec = POINTS.spec.model_copy(update={"features": FeaturesSpec(categorical=("code",))})
        with duckdb.connect() as con:
            publication = published(con, rows)
            con.execute(f"update published set {change} where id = 'k7'")
            with pytest.raises(RowsError, match=f"column '{name}' has 1 values that are not finite"):
                training_set.read(con, replace(POINTS, columns=columns, spec=spec), publication, silent)


def test_a_column_that_names_rows_is_told() -> None:
    training = training_on(frame().assign(name=lambda rows: "n" + rows["id"]), name="VARCHAR")
    assert notes.of_rows(training) == (
        "name has 200 levels in 200 rows: if it identifies rows, name it in meta.ml.features.exclude",
    )


def test_an_estimator_of_ones_own_takes_raw_columns() -> None:
    rows = frame(200).assign(s=np.array(["x", None] * 100, object))
    training = training_on(rows, s="VARCHAR")
    with duckdb.connect() as con:
        made = candidates.build(
            CandidateSpec(name="trees", estimator="sklearn.ensemble.ExtraTreesRegressor"), con, training, silent
        )
        fitted = made.fit().estimator
    assert fitted.predict(rows[["a", "b", "s"]]).shape == (200,)
