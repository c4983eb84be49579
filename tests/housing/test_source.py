"""The landed data: scikit-learn's loader without a network, and files with the same columns."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import joblib
import numpy as np
import pandas as pd
import pytest

from dbt_project.housing import source as california_housing
from dbt_project.housing.source import COLUMNS, SourceError

NINE = f"It must have the nine columns of scikit-learn's loader: {', '.join(COLUMNS)}."


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's data home, filled from the carried file."""
    folder = tmp_path_factory.mktemp("scikit_learn_data")
    california_housing.fill_cache(folder)
    return folder


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        yield con


@pytest.fixture
def few(cache: Path) -> pd.DataFrame:
    return california_housing.fetch(cache).head(50)


def write(frame: pd.DataFrame, file: Path) -> str:
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file, index=False)
    return str(file)


def test_the_carried_data_is_the_loaders_frame(cache: Path) -> None:
    frame = california_housing.fetch(cache)
    assert frame.shape == (20640, 9)
    assert tuple(frame.columns) == COLUMNS
    assert set(frame.dtypes) == {np.dtype(np.float64)}
    assert not frame.isna().any(axis=None)
    first = [8.3252, 41.0, 880 / 126, 129 / 126, 322.0, 322 / 126, 37.88, -122.23, 4.526]
    assert frame.iloc[0].tolist() == first
    assert frame.MedHouseVal.mean() == pytest.approx(2.0685581690891474, rel=1e-14)


def test_a_cache_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    other = california_housing.carried()[:10]
    joblib.dump(other, tmp_path / california_housing.CACHE, compress=6)
    assert len(california_housing.fetch(tmp_path)) == 10


def test_only_the_cache_is_left_behind(tmp_path: Path) -> None:
    california_housing.fill_cache(tmp_path / "new")
    assert [file.name for file in (tmp_path / "new").iterdir()] == [california_housing.CACHE]


def test_what_the_loader_gives_lands_from_parquet_without_it(
    con: duckdb.DuckDBPyConnection, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(cache))
    monkeypatch.delenv("HOUSING_SOURCE", raising=False)
    frame = california_housing.fetch(cache)
    landed = california_housing.load(con)
    assert isinstance(landed, pd.DataFrame)
    pd.testing.assert_frame_equal(landed, frame)
    code = (
        "import duckdb, sys; from dbt_project.housing import source; "
        "assert source.load(duckdb.connect()).shape == (20640, 9); "
        "print(sorted({'sklearn', 'joblib'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

    # another cache is another source
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    california_housing.check(con)
    joblib.dump(california_housing.carried()[:10], tmp_path / california_housing.CACHE, compress=6)
    assert len(california_housing.load(con)) == 10


def test_carried_data_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "california_housing.csv.gz"
    changed.write_bytes(california_housing.CARRIED.read_bytes() + b"\0")
    monkeypatch.setattr(california_housing, "CARRIED", changed)
    with pytest.raises(SourceError, match=rf"has sha256 \w{{64}}, not {california_housing.CARRIED_SHA256}: restore"):
        california_housing.fetch(tmp_path / "new")
    assert not (tmp_path / "new" / california_housing.CACHE).exists()


def test_carried_data_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(california_housing, "CARRIED", tmp_path / "california_housing.csv.gz")
    with pytest.raises(SourceError, match="is missing: restore it with `git checkout "):
        california_housing.fetch(tmp_path)


@pytest.mark.parametrize("name", ["housing.csv", "housing.parquet"])
def test_a_file_gives_the_loaders_frame(con: duckdb.DuckDBPyConnection, cache: Path, tmp_path: Path, name: str) -> None:
    frame = california_housing.fetch(cache)
    found = california_housing.read(con, write(frame, tmp_path / name)).df()
    pd.testing.assert_frame_equal(found, frame, check_exact=True)


def test_columns_in_another_order_and_of_other_numbers_land_the_same(
    con: duckdb.DuckDBPyConnection, few: pd.DataFrame, tmp_path: Path
) -> None:
    other = few[list(reversed(COLUMNS))].astype({"Population": "int64", "HouseAge": "float32"})
    found = california_housing.read(con, write(other, tmp_path / "other.parquet")).df()
    pd.testing.assert_frame_equal(found, few, check_exact=True)


def refused(con: duckdb.DuckDBPyConnection, source: str) -> str:
    with pytest.raises(SourceError) as error:
        california_housing.read(con, source)
    return str(error.value)


@pytest.mark.parametrize("name", ["housing.csv", "housing.parquet"])
def test_a_missing_column_is_named(
    con: duckdb.DuckDBPyConnection, few: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    source = write(few.drop(columns=["MedInc", "Latitude"]), tmp_path / name)
    assert refused(con, source) == f"HOUSING_SOURCE: {source} has no column MedInc, Latitude. {NINE}"


def test_an_unknown_column_is_named(con: duckdb.DuckDBPyConnection, few: pd.DataFrame, tmp_path: Path) -> None:
    source = write(few.assign(Colour=1), tmp_path / "housing.csv")
    assert refused(con, source) == f"HOUSING_SOURCE: {source} has an unknown column Colour. {NINE}"


@pytest.mark.parametrize("name", ["housing.csv", "housing.parquet"])
def test_a_column_that_is_not_a_number_is_named(
    con: duckdb.DuckDBPyConnection, few: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    source = write(few.assign(AveRooms="many"), tmp_path / name)
    assert (
        refused(con, source) == f"HOUSING_SOURCE: {source}: column AveRooms is VARCHAR, not a number: 'many' in row 1."
    )


def test_a_damaged_file_is_named(con: duckdb.DuckDBPyConnection, cache: Path, tmp_path: Path) -> None:
    source = Path(write(california_housing.fetch(cache), tmp_path / "damaged.parquet"))
    content = bytearray(source.read_bytes())
    content[10_000:50_000] = bytes(40_000)  # its columns are as they should be
    source.write_bytes(content)
    assert refused(con, str(source)).startswith(f"HOUSING_SOURCE: {source} cannot be read: ")


def test_a_text_in_the_last_row_of_a_csv_is_found(con: duckdb.DuckDBPyConnection, cache: Path, tmp_path: Path) -> None:
    source = write(pd.concat([california_housing.fetch(cache)] * 3), tmp_path / "housing.csv")
    with Path(source).open("a") as file:
        file.write("1,2,3,4,5,6,37,-122,dear\n")
    assert (
        refused(con, source)
        == f"HOUSING_SOURCE: {source}: column MedHouseVal is VARCHAR, not a number: 'dear' in row 61921."
    )


def test_a_file_that_is_not_there_is_named(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    source = str(tmp_path / "nowhere.csv")
    assert refused(con, source) == (
        f"HOUSING_SOURCE: {source} cannot be read: "
        f'IO Error: No files found that match the pattern "{source}".'
    )  # fmt: skip


def test_the_check_says_what_loading_would(
    con: duckdb.DuckDBPyConnection, few: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    california_housing.check(con)
    assert (tmp_path / california_housing.CACHE).exists()
    monkeypatch.setenv("HOUSING_SOURCE", write(few, tmp_path / "housing.csv"))
    california_housing.check(con)
    monkeypatch.setenv("HOUSING_SOURCE", str(tmp_path / "nowhere.parquet"))
    with pytest.raises(SourceError, match="cannot be read: IO Error"):
        california_housing.check(con)
