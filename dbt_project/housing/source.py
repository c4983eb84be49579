"""The landed data: scikit-learn's California housing, or a CSV or parquet file with the same columns."""

import gzip
import hashlib
import io
import os
from pathlib import Path

import duckdb
import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import fetch_california_housing

from ml import lake
from ml.errors import TractError
from ml.lake.sql import is_numeric

COLUMNS = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
    "MedHouseVal",
)
# The raw data of StatLib, carried because scikit-learn's download host is often refused.
CARRIED = Path(__file__).with_name("data") / "california_housing.csv.gz"
CARRIED_SHA256 = "16158d38f01c45fc546909f9cb670511f696c70763da86559c29b5d41e1c22ce"
# Where scikit-learn looks before it downloads, and the order of columns that it expects there.
CACHE = "cal_housing_py3.pkz"
CACHE_COLUMNS = [
    "median_house_value",
    "median_income",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "latitude",
    "longitude",
]


class SourceError(TractError):
    """The data to land is not what the loader gives; the message names the place and the column."""


def fetch(data_home: Path | None = None) -> pd.DataFrame:
    """The 20,640 block groups as `fetch_california_housing` gives them, from the network or without one.

    Args:
        data_home: scikit-learn's data home; `SCIKIT_LEARN_DATA`, or Tract's home, when None.

    Returns:
        A frame of shape (20640, 9) with the columns `COLUMNS`, all float64.

    Raises:
        SourceError: The carried data is missing or was changed.
    """
    data_home = data_home or _data_home()
    fill_cache(data_home)
    frame: pd.DataFrame = fetch_california_housing(data_home=data_home, as_frame=True).frame
    return frame


def _data_home() -> Path:
    configured = os.environ.get("SCIKIT_LEARN_DATA")
    return Path(configured) if configured else lake.home() / "scikit_learn_data"


def fill_cache(data_home: Path) -> None:
    """Put the carried data where scikit-learn looks first, unless something is there already."""
    cache = data_home / CACHE
    if cache.exists():
        return
    data_home.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}")  # two builds may fill it at once: each writes its own, the last stays
    joblib.dump(carried(), part, compress=6)
    part.replace(cache)


def carried() -> npt.NDArray[np.float64]:
    """The carried raw data, shape (20640, 9), in the columns and order of scikit-learn's cache.

    Raises:
        SourceError: The file is missing, or its sha256 is not `CARRIED_SHA256`.
    """
    try:
        packed = CARRIED.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{CARRIED} is missing: restore it with `git checkout {CARRIED.name}`.") from None
    found = hashlib.sha256(packed).hexdigest()
    if found != CARRIED_SHA256:
        raise SourceError(f"{CARRIED} has sha256 {found}, not {CARRIED_SHA256}: restore it from git.")
    raw = pd.read_csv(io.BytesIO(gzip.decompress(packed)), dtype=np.float64)
    return raw[CACHE_COLUMNS].to_numpy()


def read(con: duckdb.DuckDBPyConnection, source: str) -> duckdb.DuckDBPyRelation:
    """The same nine columns from a CSV or parquet file (any place that DuckDB reads, `s3://` too), as doubles.

    Raises:
        SourceError: The file cannot be read, or a column is missing, unknown or not a number.
    """
    # a CSV's types are those of all its rows: a text below the rows that DuckDB samples would fail without its column
    parquet = source.split("?")[0].endswith((".parquet", ".pq"))
    reader = "read_parquet($source)" if parquet else "read_csv($source, sample_size = -1)"
    try:
        described = con.execute(f"describe select * from {reader}", {"source": source}).fetchall()
    except duckdb.Error as error:
        raise SourceError(f"HOUSING_SOURCE: {source} cannot be read: {lake.first_line(error)}.") from None
    found = {str(name): str(kind) for name, kind, *_ in described}
    allowed = f"It must have the nine columns of scikit-learn's loader: {', '.join(COLUMNS)}."
    if missing := [name for name in COLUMNS if name not in found]:
        raise SourceError(f"HOUSING_SOURCE: {source} has no column {', '.join(missing)}. {allowed}")
    if unknown := [name for name in found if name not in COLUMNS]:
        raise SourceError(f"HOUSING_SOURCE: {source} has an unknown column {', '.join(unknown)}. {allowed}")
    for name, kind in found.items():
        if not is_numeric(kind):
            raise SourceError(f"HOUSING_SOURCE: {source}: column {name} is {kind}, not a number.")
    numbers = ", ".join(f'cast("{name}" as double) as "{name}"' for name in COLUMNS)
    try:
        return con.sql(f"select {numbers} from {reader}", params={"source": source})  # with params it reads all rows
    except duckdb.Error as error:
        raise SourceError(f"HOUSING_SOURCE: {source} cannot be read: {lake.first_line(error)}.") from None


def check(con: duckdb.DuckDBPyConnection) -> None:
    """See that `load` will find its data.

    Raises:
        SourceError: It will not; as `read` and `fetch`.
    """
    if source := os.environ.get("HOUSING_SOURCE"):
        read(con, source)
    else:
        fill_cache(_data_home())


def load(con: duckdb.DuckDBPyConnection) -> pd.DataFrame | duckdb.DuckDBPyRelation:
    """What is landed: `HOUSING_SOURCE` where that is set, otherwise scikit-learn's own."""
    source = os.environ.get("HOUSING_SOURCE")
    return read(con, source) if source else fetch()
