"""One contender's work in a process of its own: `python -m tests.bench.contender NAME`, told on standard input.

Prints one line of JSON: the seconds of each stage, imports and start aside, and what it found.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.bench.stages import Found, Stages, Told

ALPHAS = (-3, 1, 30)
LEARNED = "features.housing_features"
# The same rows as classes: 0 and 1, about as many of each.
CLASSES = f"(select *, cast(median_house_value > 180000 as integer) as above from lake.{LEARNED})"


def land(told: Told) -> Found:
    """Put the landed rows where each contender reads them: a table of the lake, and a parquet file beside it."""
    from ml import lake
    from ml.records import migrations, tables
    from tests.bench.exposure import EXPOSURE

    with lake.connect() as con:
        for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [EXPOSURE])]:
            con.execute(statement)
        for schema in ("landing", "staging", "features"):
            con.execute(f"create schema if not exists lake.{schema}")
        con.execute(f"create or replace table lake.landing.california_housing as from read_parquet('{told['source']}')")
        con.execute(f"create or replace view lake.staging.stg_housing as {told['staging_sql']}")
        con.execute(f"copy (from lake.landing.california_housing) to '{told['root']}/landed.parquet'")
    return {"seconds": {}}


def ours_featurize(told: Told) -> Found:
    """dbt's own SQL as a table of the lake, and its publication, as dbt's hooks make it."""
    from ml import lake
    from ml.records import publications

    with lake.connect() as con:
        stages = Stages()
        invocation = f"bench {time.time()}"
        con.execute("begin")
        con.execute(f"create or replace table lake.{LEARNED} as {told['features_sql']}")
        con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => '{LEARNED}')")
        con.execute("commit")
        stages.end("featurize")
        row = con.execute(publications.snapshot_sql(invocation, LEARNED)).fetchone()
        assert row is not None
        con.execute(publications.insert_sql(invocation, LEARNED, str(row[0])))
        stages.end("publish")
    return {"seconds": stages.seconds}


def ours_consume(told: Told) -> Found:
    """The consumption, as Dagster's run calls it: read, judge, fit, decide, predict and write, in one commit."""
    from ml import consumption
    from ml.serving import scoring  # noqa: F401  what it imports, before the clock starts
    from tests.bench.exposure import EXPOSURE

    # other folds each time, so that the same rows are learned from again
    exposure = replace(EXPOSURE, spec=EXPOSURE.spec.model_copy(update={"seed": told["repeat"]}))
    made = consumption.consume(exposure, say=lambda sentence: print(sentence, file=sys.stderr))
    assert made is not None
    assert made.predicted_rows == told["rows"], made
    return {"seconds": made.seconds, "rmse": made.metrics["rmse"], "version": made.version_id}


def moments(told: Told) -> Found:
    """One bare query that aggregates the moments, beside the fit by both ways to choose the penalty."""
    import numpy as np

    from ml import lake
    from ml.linear import ridge
    from tests.bench.exposure import EXPOSURE

    columns = [*EXPOSURE.features, EXPOSURE.spec.target]
    products = [f"sum({a} * {b})" for i, a in enumerate(columns) for b in columns[i:]]
    sums = [f"sum({name})" for name in columns]
    with lake.connect() as con:
        stages = Stages()
        con.execute(f"select count(*), {', '.join(sums + products)} from lake.{LEARNED}").fetchall()
        stages.end("bare moments")
        ridge.fit(con, f"lake.{LEARNED}", EXPOSURE.features, EXPOSURE.spec.target, alphas=np.logspace(*ALPHAS))
        stages.end("fit by leave-one-out")
        ridge.fit(
            con,
            f"lake.{LEARNED}",
            EXPOSURE.features,
            EXPOSURE.spec.target,
            alphas=np.logspace(*ALPHAS),
            alpha_by="folds",
            fold="cast(hash(spatial_block) % 5 as utinyint)",
        )
        stages.end("fit by 5 folds")
    return {"seconds": stages.seconds}


def correct(told: Told) -> Found:
    """Coefficients from the warehouse's sums against scikit-learn in float64, on rows that numpy can hold."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ml import lake
    from ml.linear import ridge
    from tests.bench.exposure import EXPOSURE

    features, target = list(EXPOSURE.features), EXPOSURE.spec.target
    share = min(1.0, 1_000_000 / told["rows"])
    rows = f"(from lake.{LEARNED} where hash(block_group_id) <= {int(share * (2**64 - 1))})"
    with lake.connect() as con:
        fitted = ridge.fit(con, rows, features, target, alphas=np.logspace(*ALPHAS))
        frame = con.execute(f"select {', '.join([*features, target])} from {rows}").df()
    reference = make_pipeline(StandardScaler(), Ridge(alpha=fitted.alpha, solver="svd")).fit(
        frame[features], frame[target]
    )
    largest = np.abs(fitted.pipeline[-1].coef_ / reference[-1].coef_ - 1).max()
    return {"seconds": {}, "rows": len(frame), "largest_relative_difference": float(largest)}


def copy(told: Told) -> Found:
    """The limit: DuckDB copies the features to parquet on the same storage, and scans them; caches are warm.

    And copies what a table of predictions is at least: the key and three doubles made of the features. Both are
    compressed as the lake's own files are.
    """
    from ml import lake
    from tests.bench.exposure import EXPOSURE

    with lake.connect() as con:
        columns = [row[0] for row in con.execute(f"describe lake.{LEARNED}").fetchall()]
        scan = f"select {', '.join(f'max({name})' for name in columns)} from lake.{LEARNED}"
        con.execute(scan).fetchall()
        stages = Stages()
        con.execute(f"copy (from lake.{LEARNED}) to '{told['root']}/copy.parquet' {_as_stored()}")
        stages.end("copy")
        con.execute(scan).fetchall()
        stages.end("scan")
        linear = " + ".join(f"2 * {name}" for name in EXPOSURE.features)
        con.execute(
            f"copy (select {EXPOSURE.spec.key}, prediction, prediction - 1 as lower, prediction + 1 as upper "
            f"from (select *, {linear} as prediction from lake.{LEARNED})) "
            f"to '{told['root']}/copied.parquet' {_as_stored()}"
        )
        stages.end("predictions")
    return {"seconds": stages.seconds}


def copy_made(told: Told) -> Found:
    """The first of the limit's copies where the features are made of what landed, by dbt's SQL, and not there yet."""
    from ml import lake

    with lake.connect() as con:
        stages = Stages()
        con.execute(f"copy ({told['features_sql']}) to '{told['root']}/copy.parquet' {_as_stored()}")
        stages.end("made")
    return {"seconds": stages.seconds}


def _as_stored() -> str:
    """How the lake's own files are written."""
    from ml.records import tables

    return (
        f"(format parquet, compression {tables.OPTIONS['parquet_compression']}, compression_level "
        f"{tables.OPTIONS['parquet_compression_level']}, parquet_version v{tables.OPTIONS['parquet_version']})"
    )


def recipe_featurize(told: Told) -> Found:
    """The example's first task: read the landed parquet, derive the same features, scale them, write them back."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.preprocessing import StandardScaler

    stages = Stages()
    landed = pd.read_parquet(f"{told['root']}/landed.parquet", storage_options=told["options"])
    features = pd.DataFrame(
        {
            "median_income_usd": (landed["MedInc"] * 10_000).round(2),
            "house_age_years": landed["HouseAge"],
            "rooms_per_household": landed["AveRooms"],
            "bedrooms_per_household": landed["AveBedrms"],
            "bedrooms_per_room": landed["AveBedrms"] / landed["AveRooms"],
            "people_per_household": landed["AveOccup"],
            "rooms_per_person": landed["AveRooms"] / landed["AveOccup"],
            "population": landed["Population"],
            "households": (landed["Population"] / landed["AveOccup"]).round(0),
            "latitude": landed["Latitude"],
            "longitude": landed["Longitude"],
        }
    )
    scaler = StandardScaler()
    scaled = pd.DataFrame(scaler.fit_transform(features), columns=features.columns)
    scaled["median_house_value"] = (landed["MedHouseVal"] * 100_000).round(2)
    assert np.isfinite(scaled.to_numpy()).all()
    scaled.to_parquet(f"{told['root']}/recipe_features.parquet", storage_options=told["options"])
    _dump(joblib, scaler, "recipe_scaler.joblib", told)
    stages.end("featurize")
    return {"seconds": stages.seconds}


def recipe_train(told: Told) -> Found:
    """Its second: read the features, fit RidgeCV, write the model."""
    import joblib
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import RidgeCV

    stages = Stages()
    frame = pd.read_parquet(f"{told['root']}/recipe_features.parquet", storage_options=told["options"])
    stages.end("read")
    model = RidgeCV(alphas=np.logspace(*ALPHAS))
    model.fit(frame.drop(columns="median_house_value"), frame["median_house_value"])
    stages.end("fit")
    _dump(joblib, model, "recipe_model.joblib", told)
    stages.end("save")
    return {"seconds": stages.seconds, "alpha": float(model.alpha_)}


def recipe_predict(told: Told) -> Found:
    """Its third: read the features, load the model, predict, write."""
    import fsspec
    import joblib
    import pandas as pd

    stages = Stages()
    frame = pd.read_parquet(f"{told['root']}/recipe_features.parquet", storage_options=told["options"])
    with fsspec.open(f"{told['root']}/recipe_model.joblib", "rb", **(told["options"] or {})) as file:
        model = joblib.load(file)
    predicted = model.predict(frame.drop(columns="median_house_value"))
    pd.DataFrame({"prediction": predicted}).to_parquet(
        f"{told['root']}/recipe_predictions.parquet", storage_options=told["options"]
    )
    stages.end("predict and write")
    return {"seconds": stages.seconds}


def polars(told: Told) -> Found:
    """What people write with polars, in one process: a lazy scan, features as parquet, RidgeCV, predictions."""
    import numpy as np
    import polars as pl
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    stages = Stages()
    landed = pl.scan_parquet(f"{told['root']}/landed.parquet")
    rooms, bedrooms, people = pl.col("AveRooms"), pl.col("AveBedrms"), pl.col("AveOccup")
    features = landed.select(
        median_income_usd=(pl.col("MedInc") * 10_000).round(2),
        house_age_years=pl.col("HouseAge"),
        rooms_per_household=rooms,
        bedrooms_per_household=bedrooms,
        bedrooms_per_room=bedrooms / rooms,
        people_per_household=people,
        rooms_per_person=rooms / people,
        population=pl.col("Population"),
        households=(pl.col("Population") / people).round(0),
        latitude=pl.col("Latitude"),
        longitude=pl.col("Longitude"),
        median_house_value=(pl.col("MedHouseVal") * 100_000).round(2),
    )
    features.sink_parquet(f"{told['root']}/polars_features.parquet")
    stages.end("featurize")
    frame = pl.read_parquet(f"{told['root']}/polars_features.parquet")
    target, columns = frame["median_house_value"].to_numpy(), frame.drop("median_house_value").to_numpy()
    stages.end("read")
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(*ALPHAS))).fit(columns, target)
    stages.end("fit")
    predicted = pl.DataFrame({"prediction": model.predict(columns)})
    predicted.write_parquet(f"{told['root']}/polars_predictions.parquet")
    stages.end("predict and write")
    return {"seconds": stages.seconds, "alpha": float(model[-1].alpha_)}


def scikit_learn(told: Told) -> Found:
    """The best of scikit-learn: 30 penalties on 5 group folds by grid search, on numpy arrays; reading and fitting."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ml import lake
    from tests.bench.exposure import EXPOSURE

    features, target = list(EXPOSURE.features), EXPOSURE.spec.target
    with lake.connect() as con:
        stages = Stages()
        named = ", ".join([*features, target])
        query = f"select {named}, dense_rank() over (order by spatial_block) as block from lake.{LEARNED}"
        columns = con.execute(query).fetchnumpy()
        x, y, groups = np.column_stack([columns[name] for name in features]), columns[target], columns["block"]
        del columns
        stages.end("read")
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": np.logspace(*ALPHAS)}, cv=GroupKFold(5)
    )
    search.fit(x, y, groups=groups)
    stages.end("fit")
    return {"seconds": stages.seconds, "alpha": float(search.best_params_["ridge__alpha"])}


def logistic(told: Told) -> Found:
    """Logistic regression of the same rows as classes, fitted in the warehouse: alone, and with a fit a fold."""
    from ml import lake
    from ml.linear import logistic as by_newton
    from tests.bench.exposure import EXPOSURE

    with lake.connect() as con:
        stages = Stages()
        (fitted,) = by_newton.fit(con, CLASSES, EXPOSURE.features, "above")
        stages.end("logistic fit")
        by_fold = "cast(hash(spatial_block) % 5 as utinyint)"
        by_newton.fit(con, CLASSES, EXPOSURE.features, "above", fold=by_fold, folds=5)
        stages.end("logistic fit and 5 folds")
    return {"seconds": stages.seconds, "steps": fitted.steps, "slopes": fitted.pipeline[-1].coef_[0].tolist()}


def scikit_learn_logistic(told: Told) -> Found:
    """scikit-learn's LogisticRegression behind its StandardScaler, of the same rows in a frame of pandas."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ml import lake
    from tests.bench.exposure import EXPOSURE

    features = list(EXPOSURE.features)
    with lake.connect() as con:
        stages = Stages()
        frame = con.execute(f"select {', '.join(features)}, above from {CLASSES}").df()
        stages.end("logistic read")
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[features], frame["above"])
    stages.end("logistic fit")
    return {"seconds": stages.seconds, "steps": int(fitted[-1].n_iter_[0]), "slopes": fitted[-1].coef_[0].tolist()}


def _dump(joblib: Any, thing: object, name: str, told: Told) -> None:
    import fsspec

    with fsspec.open(f"{told['root']}/{name}", "wb", **(told["options"] or {})) as file:
        joblib.dump(thing, file)


NAMED: dict[str, Callable[[Told], Found]] = {
    work.__name__: work
    for work in (
        land, ours_featurize, ours_consume, moments, correct, copy, copy_made, recipe_featurize, recipe_train,
        recipe_predict, polars, scikit_learn, logistic, scikit_learn_logistic,
    )
}  # fmt: skip

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    os.environ.update(asked["environment"])
    print(json.dumps(NAMED[sys.argv[1]](asked)))
