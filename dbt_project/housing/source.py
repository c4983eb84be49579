"""The landed data: scikit-learn's California housing, or a CSV or parquet file with the same columns.

scikit-learn is imported by its loader alone: its import took a half of a build's CPU, and what it gives lies there as
parquet from then on.
"""

import gzip
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ml import lake
from ml.errors import TractError
from ml.lake.sql import LARGEST, is_numeric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

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
# What its loader made of that, beside it.
FETCHED = "california_housing.parquet"
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


def fetch(data_home: Path | None = None) -> "pd.DataFrame":
    """The 20,640 block groups as `fetch_california_housing` gives them, from the network or without one.

    Args:
        data_home: scikit-learn's data home; `SCIKIT_LEARN_DATA`, or Tract's home, when None.

    Returns:
        A frame of shape (20640, 9) with the columns `COLUMNS`, all float64.

    Raises:
        SourceError: The carried data is missing or was changed.
    """
    from sklearn.datasets import fetch_california_housing

    data_home = data_home or _data_home()
    fill_cache(data_home)
    frame: pd.DataFrame = fetch_california_housing(data_home=data_home, as_frame=True).frame
    return frame


def fetched(data_home: Path | None = None) -> Path:
    """The same as a parquet file: made once, and anew where scikit-learn's cache is newer.

    Raises:
        SourceError: As `fetch`.
    """
    data_home = data_home or _data_home()
    fill_cache(data_home)
    file = data_home / FETCHED
    if not file.exists() or file.stat().st_mtime_ns <= (data_home / CACHE).stat().st_mtime_ns:
        part = file.with_suffix(f".{os.getpid()}")
        fetch(data_home).to_parquet(part, index=False)
        part.replace(file)
    return file


def _data_home() -> Path:
    configured = os.environ.get("SCIKIT_LEARN_DATA")
    return Path(configured) if configured else lake.home() / "scikit_learn_data"


def fill_cache(data_home: Path) -> None:
    """Put the carried data where scikit-learn looks first, unless something is there already."""
    cache = data_home / CACHE
    if cache.exists():
        return
    import joblib

    data_home.mkdir(parents=True, exist_ok=True)
    part = cache.with_suffix(f".{os.getpid()}")  # two builds may fill it at once: each writes its own, the last stays
    joblib.dump(carried(), part, compress=6)
    part.replace(cache)


def carried() -> "npt.NDArray[np.float64]":
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
    import pandas as pd

    raw = pd.read_csv(io.BytesIO(gzip.decompress(packed)), dtype="float64")
    return raw[CACHE_COLUMNS].to_numpy()


def read(con: duckdb.DuckDBPyConnection, source: str) -> duckdb.DuckDBPyRelation:
    """The same nine columns from a CSV or parquet file (any place that DuckDB reads, `s3://` too), as doubles.

    A house value may be missing: such a block group is predicted, and not learned from.

    Raises:
        SourceError: The file cannot be read or has no rows; a column is missing, unknown or not a number; a value is
            missing, NaN, infinite or too large; or two rows have the same attributes.
    """
    # a CSV's types are those of all its rows: a text below the rows that DuckDB samples would fail without its column
    parquet = source.split("?")[0].endswith((".parquet", ".pq"))
    reader = "read_parquet($source)" if parquet else "read_csv($source, sample_size = -1, header = true)"
    where = f"HOUSING_SOURCE: {source}"
    try:
        described = con.execute(f"describe select * from {reader}", {"source": source}).fetchall()
        found = {str(name): str(kind) for name, kind, *_ in described}
        if not parquet and not set(COLUMNS) & set(found):
            con.execute(RAGGED, {"source": source}).fetchall()
        allowed = f"It must have the nine columns of scikit-learn's loader: {', '.join(COLUMNS)}."
        if missing := [name for name in COLUMNS if name not in found]:
            raise SourceError(f"{where} has no column {', '.join(missing)}. {allowed}")
        if unknown := [name[:LONGEST] for name in found if name not in COLUMNS]:
            raise SourceError(f"{where} has an unknown column {', '.join(unknown)}. {allowed}")
        if not con.execute(f"select 1 from {reader} limit 1", {"source": source}).fetchall():
            raise SourceError(f"{where} has no rows. {allowed}")
        for name, kind in found.items():
            if not is_numeric(kind):
                raise SourceError(f"{where}: column {name} is {kind}, not a number{_first(con, reader, source, name)}.")
        numbers = ", ".join(f'cast("{name}" as double) as "{name}"' for name in COLUMNS)
        if wrong := _unfit(con, f"select {numbers} from {reader}", source):
            raise SourceError(f"{where}: {'; '.join(wrong)}. Mend these rows, or leave them out.")
        return con.sql(f"select {numbers} from {reader}", params={"source": source})  # with params it reads all rows
    except duckdb.Error as error:
        raise SourceError(f"{where} cannot be read: {_told(error)}.") from None


# What a CSV with lines of several lengths is read as is one column of texts: this says which line it is.
RAGGED = f"""
    select count(*) from read_csv(
        $source, header = true, auto_detect = false, delim = ',', columns = {dict.fromkeys(COLUMNS, "VARCHAR")}
    )
"""
LONGEST = 60  # characters of a name or a value in a sentence
ATTRIBUTES = COLUMNS[:-1]  # by whose hash a block group is known


def _told(error: duckdb.Error) -> str:
    """The first line of what DuckDB says; of a CSV the second too, where the reason is."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[:2]).rstrip(".") if "CSV Error on Line" in lines[0] else lake.first_line(error)


def _first(con: duckdb.DuckDBPyConnection, reader: str, source: str, name: str) -> str:
    """The first value of a column that is no number, and its row."""
    found = con.execute(
        f"""
        select "{name}"::varchar, row from (select *, row_number() over () as row from {reader})
        where "{name}" is not null and not coalesce(isfinite(try_cast("{name}"::varchar as double)), false)
        order by row limit 1
        """,
        {"source": source},
    ).fetchone()
    return f": {found[0][:LONGEST]!r} in row {found[1]}" if found else ""


def _unfit(con: duckdb.DuckDBPyConnection, rows: str, source: str) -> list[str]:
    """What is wrong with values, by column, with the first rows; rows count from 1, below a CSV's header."""
    # NULL, NaN, infinities and what is too large to be squared: of none of them this is true
    fits = {name: f'coalesce(abs("{name}") < {LARGEST}, false)' for name in ATTRIBUTES}
    fits[COLUMNS[-1]] = f'("{COLUMNS[-1]}" is null or abs("{COLUMNS[-1]}") < {LARGEST})'
    attributes = ", ".join(f'"{name}"' for name in ATTRIBUTES)
    repeats = f"row_number() over (partition by {attributes} order by row) = 1"
    judged = ", ".join(f'{fit} as "{name}"' for name, fit in fits.items())
    counted = ", ".join(
        f'count(*) filter (not "{name}"), (list(row order by row) filter (not "{name}"))[:3]'
        for name in (*COLUMNS, "once")
    )
    query = f"""
        with numbered as (select *, row_number() over () as row from ({rows})),
        judged as (select {judged}, row, {repeats} as once from numbered)
        select count(*), {counted} from judged
    """
    total, *found = con.execute(query, {"source": source}).fetchall()[0]
    said = []
    for name, count, first in zip((*COLUMNS, "once"), found[::2], found[1::2], strict=True):
        if count:
            what = (
                "the eight attributes of a row before it"
                if name == "once"
                else "missing, NaN, infinite or beyond 1e150"
            )
            these = f"{count:,} of {total:,} rows ({', '.join(map(str, first))}{', …' if count > len(first) else ''})"
            said.append(f"{these} have {what}" if name == "once" else f"{name} is {what} in {these}")
    return said


def check(con: duckdb.DuckDBPyConnection) -> None:
    """See that `load` will find its data.

    Raises:
        SourceError: It will not; as `read` and `fetch`.
    """
    if source := os.environ.get("HOUSING_SOURCE"):
        read(con, source)
    else:
        fetched()


def load(con: duckdb.DuckDBPyConnection) -> "pd.DataFrame | duckdb.DuckDBPyRelation":
    """What is landed: `HOUSING_SOURCE` where that is set, otherwise scikit-learn's own, in its order."""
    if source := os.environ.get("HOUSING_SOURCE"):
        return read(con, source)
    import pandas as pd

    return pd.read_parquet(fetched())
