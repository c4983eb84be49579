"""Tables that others published are landed by a model each and learned from as they are, at least as well as by hand.

Géron's `housing.csv` has NULL and a text column; the white wines of UCI have names with blanks, repeated rows, no key
and a whole target, learned as numbers and as classes. Where the files are, `TRACT_OTHER_TABLES` says.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from ml import consumption
from ml.arrays import Integers, Vector
from ml.exposures import Exposure
from ml.manifest import read_exposures
from tests.conftest import ROOT, run_dbt
from tests.dbt.conftest import Home, about_publishing, allotments, lake_of, said
from tests.ml.completed import consume_and_complete

TABLES = Path(os.environ.get("TRACT_OTHER_TABLES", ROOT.parent / "shared" / "data"))
HOMES, WINES = TABLES / "geron_housing.csv", TABLES / "winequality-white.csv"

pytestmark = [
    pytest.mark.xdist_group("other tables"),
    pytest.mark.slow,
    pytest.mark.skipif(
        not (HOMES.exists() and WINES.exists()),
        reason="geron_housing.csv and winequality-white.csv are not carried: TRACT_OTHER_TABLES names their directory",
    ),
]

FILES = {
    "homes.sql": "select row_number() over () as block, * replace (\n"
    "    {{ \"case when ocean_proximity = 'ISLAND' then 'SEA' else ocean_proximity end\" if env_var('SEA', '')"
    " else 'ocean_proximity' }} as ocean_proximity\n)\n"
    "from read_csv('{{ env_var('OTHER_TABLES') }}/geron_housing.csv')\n",
    "wines.sql": "select row_number() over () as wine, cast(hash(wines) as varchar) as bottle, *\n"
    "from read_csv('{{ env_var('OTHER_TABLES') }}/winequality-white.csv') as wines\n",
    "others.yml": """
models:
  - name: homes
    config: {contract: {enforced: true}, materialized: table}
    columns:
      - {name: block, data_type: bigint, data_tests: [unique, not_null]}
      - {name: longitude, data_type: double}
      - {name: latitude, data_type: double}
      - {name: housing_median_age, data_type: double}
      - {name: total_rooms, data_type: double}
      - {name: total_bedrooms, data_type: double}
      - {name: population, data_type: double}
      - {name: households, data_type: double}
      - {name: median_income, data_type: double}
      - {name: median_house_value, data_type: double}
      - {name: ocean_proximity, data_type: varchar}
  - name: wines
    config: {contract: {enforced: true}, materialized: table}
    columns:
      - {name: wine, data_type: bigint, data_tests: [unique, not_null]}
      - {name: bottle, data_type: varchar, data_tests: [not_null]}
      - {name: fixed acidity, data_type: double, quote: true}
      - {name: volatile acidity, data_type: double, quote: true}
      - {name: citric acid, data_type: double, quote: true}
      - {name: residual sugar, data_type: double, quote: true}
      - {name: chlorides, data_type: double}
      - {name: free sulfur dioxide, data_type: double, quote: true}
      - {name: total sulfur dioxide, data_type: double, quote: true}
      - {name: density, data_type: double}
      - {name: pH, data_type: double}
      - {name: sulphates, data_type: double}
      - {name: alcohol, data_type: double}
      - {name: quality, data_type: bigint}
exposures:
  - name: home_values
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: ["ref('homes')"]
    config:
      meta:
        ml: {key: block, target: median_house_value, candidates: [ridge, gradient_boosting], predictions: home_values}
  - name: wine_quality
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: ["ref('wines')"]
    config:
      meta:
        ml:
          key: wine
          group: bottle
          split: group
          target: quality
          candidates: [ridge, gradient_boosting]
          predictions: wine_quality
  - name: wine_classes
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: ["ref('wines')"]
    config:
      meta:
        ml:
          key: wine
          group: bottle
          split: group
          target: quality
          task: classification
          candidates: [gradient_boosting]
          predictions: wine_classes
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = allotments(tmp_path_factory.mktemp("others"))
    for name, text in FILES.items():
        (copy / "models" / name).write_text(text)
    (copy / "dbt_packages").mkdir()  # as `dbt deps` does, in no time
    (copy / "dbt_packages" / "tract").symlink_to(ROOT / "dbt_project" / "tract")
    return copy


@pytest.fixture(scope="module")
def home(empty_lake: Home, project: Path) -> Path:
    """A lake with both tables, published."""
    made = empty_lake("others")
    told = run_dbt(made, "build", "--select", "homes", "wines", project=project, OTHER_TABLES=str(TABLES))
    assert told.returncode == 0, told.stdout
    assert [line.partition("@")[0] for line in sorted(about_publishing(told))] == [
        "Published soil.homes",
        "Published soil.wines",
    ]
    return made


@pytest.fixture(scope="module")
def exposures(home: Path) -> dict[str, Exposure]:
    found = read_exposures(json.loads((home / "target" / "manifest.json").read_text()))
    return {exposure.name: exposure for exposure in found}


def learned(home: Path, exposure: Exposure) -> tuple[consumption.Consumption, pd.DataFrame]:
    """What came of it, and the held-out predictions of its version by the spec's split, in the order of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        made = consume_and_complete(exposure)
    assert made is not None
    with lake_of(home) as con:
        heldout = con.execute(
            f"from lake.ml.{exposure.heldout} where version_id = ? and split = ? order by {exposure.spec.key}",
            [made.version_id, exposure.spec.split],
        ).df()
    return made, heldout


def error_by_hand(
    boosting: HistGradientBoostingRegressor, features: pd.DataFrame, target: Vector, fold: Integers
) -> float:
    """The RMSE of held-out rows of the same folds, by scikit-learn alone."""
    predicted = cross_val_predict(boosting, features, target, cv=PredefinedSplit(fold))
    return float(root_mean_squared_error(target, predicted))


def test_homes_with_null_and_text_are_learned_as_well_as_from_the_file(
    home: Path, exposures: dict[str, Exposure], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pd.read_csv(HOMES).astype({"ocean_proximity": "category"})
    assert int(raw["total_bedrooms"].isna().sum()) == 207
    features, target = raw.drop(columns="median_house_value"), raw["median_house_value"]
    asked = exposures["home_values"]
    for seed in range(5):
        dealt = replace(asked, spec=asked.spec.model_copy(update={"seed": seed}))
        made, heldout = learned(home, dealt if seed == asked.spec.seed else replace(dealt, name=f"dealt_{seed}"))
        boosting = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=seed)
        theirs = error_by_hand(boosting, features, target.to_numpy(), heldout["fold"].to_numpy())
        with capsys.disabled():
            print(f"\n| {seed} | {made.metrics['rmse']:,.0f} | {theirs:,.0f} |", end="")  # noqa: T201
        assert made.metrics["rmse"] <= theirs * 1.001
        assert made.metrics["rmse"] == pytest.approx(48_000, abs=1_500)
        assert made.metrics["coverage"] == pytest.approx(0.9, abs=0.02)

    # a level that no row had is counted by the next publication's drift, and dbt warns of it
    told = run_dbt(home, "build", "--select", "homes", project=project, OTHER_TABLES=str(TABLES), SEA="yes")
    assert told.returncode == 0, told.stdout
    learned(home, exposures["home_values"])
    told = run_dbt(home, "build", "--select", "model_monitoring", project=project, OTHER_TABLES=str(TABLES))
    assert any(line.startswith("Warning in test no_level_is_new") for line in said(told)), told.stdout
    with lake_of(home) as con:
        drift = con.execute("select column_name, new_levels, new_level_rows from lake.ml.drift where new_levels > 0")
        assert drift.fetchall() == [("ocean_proximity", 1, 5)]


def test_wines_are_learned_as_numbers_no_bottle_on_both_sides(home: Path, exposures: dict[str, Exposure]) -> None:
    made, heldout = learned(home, exposures["wine_quality"])
    raw = pd.read_csv(WINES, sep=None, engine="python")
    repeated = raw.groupby(list(raw.columns))["quality"].transform("size") > 1
    assert int(raw.duplicated().sum()) == 937
    by_row = heldout.assign(row=raw.groupby(list(raw.columns)).ngroup().to_numpy())[repeated.to_numpy()]
    assert int((by_row.groupby("row")["fold"].nunique() > 1).sum()) == 0
    features, target = raw.drop(columns="quality"), raw["quality"].to_numpy(float)
    theirs = error_by_hand(HistGradientBoostingRegressor(random_state=0), features, target, heldout["fold"].to_numpy())
    assert made.metrics["rmse"] <= theirs * 1.001


def test_wines_are_learned_as_classes_with_calibrated_probabilities(home: Path, exposures: dict[str, Exposure]) -> None:
    made, heldout = learned(home, exposures["wine_classes"])
    raw = pd.read_csv(WINES, sep=None, engine="python")
    features, target = raw.drop(columns="quality"), raw["quality"].to_numpy()
    known = np.unique(target)
    predicted = np.full((len(raw), len(known)), 1e-15)
    for fold in range(5):
        held = (heldout["fold"] == fold).to_numpy()
        by_hand = HistGradientBoostingClassifier(random_state=0).fit(features[~held], target[~held])
        predicted[np.ix_(held, np.isin(known, by_hand.classes_))] = by_hand.predict_proba(features[held])
    theirs = log_loss(target, predicted / predicted.sum(axis=1, keepdims=True), labels=known)
    assert made.metrics["log_loss"] < theirs  # it is not calibrated by hand
    assert made.metrics["coverage"] == pytest.approx(0.9, abs=0.02)
    with lake_of(home) as con:
        rows = con.execute(
            "select typeof(prediction), cardinality(probabilities), count(*) from lake.ml.wine_classes group by all"
        )
        assert rows.fetchall() == [("BIGINT", 7, len(raw))]
