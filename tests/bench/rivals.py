"""Contenders with packages of their own (.venv/rivals): `python -m tests.bench.rivals NAME`, told on standard input.

Each makes the same features of the same landed rows, writes them, fits a linear model of them, and writes a prediction
for every row; without keys, folds and intervals. Nothing of `ml` is imported. Prints one line of JSON, as contender.py.
"""

import json
import sys
import tempfile

from tests.bench.stages import Found, Stages, Told

TARGET = "median_house_value"


def spark_ml(told: Told) -> Found:
    """Spark in one process on all cores: StandardScaler and one LinearRegression, whose penalty is given."""
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import StandardScaler, VectorAssembler
    from pyspark.ml.regression import LinearRegression
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.memory", "4g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", tempfile.mkdtemp(dir=told["root"]))
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    stages = Stages()
    landed = spark.read.parquet(f"{told['root']}/landed.parquet")
    rooms, bedrooms, people = f.col("AveRooms"), f.col("AveBedrms"), f.col("AveOccup")
    features = landed.select(
        f.round(f.col("MedInc") * 10_000, 2).alias("median_income_usd"),
        f.col("HouseAge").alias("house_age_years"),
        rooms.alias("rooms_per_household"),
        bedrooms.alias("bedrooms_per_household"),
        (bedrooms / rooms).alias("bedrooms_per_room"),
        people.alias("people_per_household"),
        (rooms / people).alias("rooms_per_person"),
        f.col("Population").alias("population"),
        f.round(f.col("Population") / people, 0).alias("households"),
        f.col("Latitude").alias("latitude"),
        f.col("Longitude").alias("longitude"),
        f.round(f.col("MedHouseVal") * 100_000, 2).alias(TARGET),
    )
    features.write.mode("overwrite").parquet(f"{told['root']}/spark_features.parquet")
    stages.end("featurize")
    frame = spark.read.parquet(f"{told['root']}/spark_features.parquet")
    columns = [name for name in frame.columns if name != TARGET]
    model = Pipeline(
        stages=[
            VectorAssembler(inputCols=columns, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="scaled", withMean=True, withStd=True),
            LinearRegression(featuresCol="scaled", labelCol=TARGET, regParam=1e-3, solver="normal"),
        ]
    ).fit(frame)
    stages.end("fit")
    predicted = model.transform(frame).select("prediction")
    predicted.write.mode("overwrite").parquet(f"{told['root']}/spark_predictions.parquet")
    stages.end("predict and write")
    spark.stop()
    return {"seconds": stages.seconds}


def h2o_glm(told: Told) -> Found:
    """H2O's generalized linear model: 30 penalties, chosen by 5 folds."""
    import h2o
    from h2o.estimators import H2OGeneralizedLinearEstimator

    h2o.init(
        ip="127.0.0.1", bind_to_localhost=True, max_mem_size="10g", ice_root=tempfile.mkdtemp(dir=told["root"]),
        start_h2o=True, verbose=False,
    )  # fmt: skip
    h2o.no_progress()
    try:
        stages = Stages()
        landed = h2o.import_file(f"{told['root']}/landed.parquet")
        rooms, bedrooms, people = landed["AveRooms"], landed["AveBedrms"], landed["AveOccup"]
        columns = {
            "median_income_usd": (landed["MedInc"] * 10_000).round(2),
            "house_age_years": landed["HouseAge"],
            "rooms_per_household": rooms,
            "bedrooms_per_household": bedrooms,
            "bedrooms_per_room": bedrooms / rooms,
            "people_per_household": people,
            "rooms_per_person": rooms / people,
            "population": landed["Population"],
            "households": (landed["Population"] / people).round(0),
            "latitude": landed["Latitude"],
            "longitude": landed["Longitude"],
            TARGET: (landed["MedHouseVal"] * 100_000).round(2),
        }
        first, *others = columns.values()
        features = first.cbind(others)
        features.columns = list(columns)
        h2o.export_file(features, f"{told['root']}/h2o_features", force=True, format="parquet")
        stages.end("featurize")
        model = H2OGeneralizedLinearEstimator(
            family="gaussian", alpha=0, lambda_search=True, nlambdas=30, nfolds=5, standardize=True, seed=0
        )
        model.train(x=[name for name in columns if name != TARGET], y=TARGET, training_frame=features)
        stages.end("fit")
        h2o.export_file(model.predict(features), f"{told['root']}/h2o_predictions", force=True, format="parquet")
        stages.end("predict and write")
    finally:
        h2o.cluster().shutdown()
    return {"seconds": stages.seconds}


NAMED = {work.__name__: work for work in (spark_ml, h2o_glm)}

if __name__ == "__main__":
    print(json.dumps(NAMED[sys.argv[1]](json.load(sys.stdin))))
