# ruff: noqa: E501 (a case a line)
"""Forty files that are not what the loader gives: each is refused with the column or the line, and the rows."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbt_project.housing import source as california_housing
from dbt_project.housing.source import ATTRIBUTES, COLUMNS, SourceError

HEAD = ",".join(COLUMNS)
ROW = "3.5,20,5.1,1.1,900,2.5,34.{},-118.2,1.5"
FEW = [ROW.format(number) for number in range(10, 18)]
UNFIT = "is missing, NaN, infinite or beyond 1e150"


def csv(*rows: str, head: str = HEAD) -> bytes:
    return "\n".join([head, *rows, ""]).encode()


def with_first(place: int, value: str) -> bytes:
    cells = FEW[0].split(",")
    cells[place] = value
    return csv(",".join(cells), *FEW[1:])


def parquet(**columns: Any) -> Callable[[Path], None]:
    """A file of eight rows, with other columns."""
    frame = pd.DataFrame([[float(cell) for cell in row.split(",")] for row in FEW], columns=list(COLUMNS))
    return lambda file: frame.assign(**columns).to_parquet(file, index=False)


def cut(file: Path) -> None:
    parquet()(file)
    file.write_bytes(file.read_bytes()[:-100])


def torn(file: Path) -> None:
    parquet()(file)
    content = bytearray(file.read_bytes())
    content[4:400] = bytes(396)
    file.write_bytes(content)


CASES: dict[str, tuple[str, bytes | Callable[[Path], None], str]] = {
    "UTF-16": ("a.csv", csv(*FEW).decode().encode("utf-16"), r"cannot be read: .*Line: 1 .*not utf-8 encoded"),
    "latin-1 in the header": ("a.csv", csv(*FEW, head=HEAD.replace("HouseAge", "Häuser")).decode().encode("latin1"), r"Line: 1"),
    "latin-1 in a row": ("a.csv", csv(*FEW) + "ä,1,1,1,1,1,1,1,1\n".encode("latin1"), r"Line: 10"),
    "a NUL character": ("a.csv", with_first(0, "1\0"), r"column MedInc is VARCHAR, not a number"),
    "an empty file": ("a.csv", b"", r"has no column MedInc, HouseAge"),
    "a header alone": ("a.csv", csv(), r"has no rows"),
    "no header": ("a.csv", csv(*FEW[1:], head=FEW[0]), r"cannot be read|has no column"),
    "a missing column": ("a.csv", csv(*(row.rpartition(",")[0] for row in FEW), head=",".join(ATTRIBUTES)), r"no column MedHouseVal"),
    "an extra column": ("a.csv", csv(*(f"{row},1" for row in FEW), head=f"{HEAD},Colour"), r"unknown column Colour"),
    "an index": ("a.csv", csv(*(f"0,{row}" for row in FEW), head=f",{HEAD}"), r"unknown column column0"),
    "a renamed column": ("a.csv", csv(*FEW, head=HEAD.replace("MedInc", "Income")), r"no column MedInc"),
    "another case": ("a.csv", csv(*FEW, head=HEAD.lower()), r"no column MedInc"),
    "one name twice": ("a.csv", csv(*FEW, head=HEAD.replace("HouseAge", "MedInc")), r"no column HouseAge"),
    "a name of a million characters": ("a.csv", csv(*(f"{row},1" for row in FEW), head=f"{HEAD},{'x' * 1_000_000}"), r"unknown column x{60}\. It must|cannot be read"),
    "a text among numbers": ("a.csv", csv(*FEW, FEW[0].replace("900", "many")), r"Population is VARCHAR, not a number: 'many' in row 9"),
    "a text of a million characters": ("a.csv", with_first(4, "y" * 1_000_000), r"Population is VARCHAR, not a number: 'y{60}' in row 1"),
    "thousands' commas": ("a.csv", with_first(4, '"1,234.5"'), r"Population is VARCHAR, not a number: '1,234\.5' in row 1"),
    "decimal commas": ("a.csv", csv(*(row.replace(",", ";").replace(".", ",") for row in FEW), head=HEAD.replace(",", ";")), r"MedInc is VARCHAR, not a number"),
    "a unit": ("a.csv", with_first(5, "2.5 people"), r"AveOccup is VARCHAR, not a number: '2\.5 people' in row 1"),
    "a date": ("a.csv", csv(*(row.replace("900", "2020-01-01") for row in FEW)), r"Population is DATE, not a number"),
    "a short line": ("a.csv", csv(*FEW, "1,2,3"), r"Line: 10 .*1,2,3"),
    "a long line": ("a.csv", csv(*FEW, f"{FEW[0]},9,9"), r"Line: 10 |unknown column|has no column"),
    "an open quote": ("a.csv", csv(*FEW, f'"{FEW[0]}'), r"cannot be read|not a number|has no column"),
    "NaN": ("a.csv", with_first(2, "nan"), rf"AveRooms {UNFIT} in 1 of 8 rows \(1\)\."),
    "infinity": ("a.csv", with_first(2, "inf"), r"AveRooms is VARCHAR, not a number: 'inf' in row 1"),
    "minus infinity": ("a.csv", with_first(8, "-inf"), r"MedHouseVal is VARCHAR, not a number: '-inf' in row 1"),
    "1e308": ("a.csv", with_first(0, "1e308"), rf"MedInc {UNFIT} in 1 of 8 rows \(1\)\."),
    "1e999": ("a.csv", with_first(0, "1e999"), r"MedInc"),
    "nothing in a column": ("a.csv", with_first(6, ""), rf"Latitude {UNFIT} in 1 of 8 rows \(1\)\."),
    "nothing in many rows": ("a.csv", csv(*(row.replace("900", "") for row in FEW[:5]), *FEW[5:]), rf"Population {UNFIT} in 5 of 8 rows \(1, 2, 3, …\)"),
    "the same rows twice": ("a.csv", csv(*FEW, *FEW[:2]), r"2 of 10 rows \(9, 10\) have the eight attributes of a row before"),
    "one place, two values": ("a.csv", csv(*FEW, FEW[0].replace("1.5", "1.7")), r"1 of 9 rows \(9\) have the eight attributes"),
    "two columns at once": ("a.csv", csv("nan,20,1e200,1,9,2,34,-118,1", *FEW), rf"MedInc {UNFIT} in 1 of 9 rows \(1\); AveRooms"),
    "a cut parquet file": ("a.parquet", cut, r"cannot be read"),
    "a torn parquet file": ("a.parquet", torn, r"cannot be read"),
    "a CSV named parquet": ("a.parquet", csv(*FEW), r"cannot be read"),
    "a parquet file named CSV": ("a.csv", parquet(), r"cannot be read|has no column"),
    "texts in parquet": ("a.parquet", parquet(AveRooms="many"), r"AveRooms is VARCHAR, not a number: 'many' in row 1"),
    "booleans in parquet": ("a.parquet", parquet(AveRooms=True), r"AveRooms is BOOLEAN, not a number"),
    "NULLs in parquet": ("a.parquet", parquet(AveRooms=[None, *[1.0] * 7]), rf"AveRooms {UNFIT} in 1 of 8 rows \(1\)"),
    "no rows in parquet": ("a.parquet", lambda file: pd.DataFrame(columns=list(COLUMNS), dtype=float).to_parquet(file), r"has no rows"),
    "a directory": ("a.csv", lambda file: file.mkdir(), r"cannot be read"),
}  # fmt: skip


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        yield con


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_the_column_and_the_rows(con: duckdb.DuckDBPyConnection, tmp_path: Path, case: str) -> None:
    name, content, told = CASES[case]
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        content(file)
    with pytest.raises(SourceError) as error:
        california_housing.read(con, str(file))
    said = str(error.value)
    assert said.startswith(f"HOUSING_SOURCE: {file}")
    assert re.search(told, said), said
    assert "\n" not in said
    assert len(said) < 600


def test_there_are_forty_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"\xef\xbb\xbf" + csv(*FEW), 8),
        (csv(*FEW).replace(b",", b";"), 8),
        (csv(*FEW).replace(b",", b"\t"), 8),
        (csv(*FEW).replace(b"\n", b"\r\n"), 8),
        (csv(*(row.rpartition(",")[0] + "," for row in FEW[:3]), *FEW[3:]), 8),  # to be predicted
        (csv(FEW[0]), 1),
    ],
    ids=["a BOM", "semicolons", "tabs", "Windows' lines", "no house value", "one row"],
)
def test_what_says_the_same_in_another_way_lands(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, content: bytes, rows: int
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    found = california_housing.read(con, str(file)).df()
    assert len(found) == rows
    assert found.iloc[-1, :-1].tolist() == [float(cell) for cell in FEW[rows - 1].split(",")][:-1]


CELLS = (
    st.floats(allow_nan=True, allow_infinity=True) | st.none() | st.sampled_from([1e150, 1e149, -1e308, 0.0, 5e-324])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(COLUMNS), CELLS), max_size=4, unique_by=lambda change: change[:2]
    )
)
def test_any_cells_land_as_they_are_or_are_named(tmp_path: Path, changes: list[tuple[int, str, float | None]]) -> None:
    rows = [[float(cell) for cell in row.split(",")] for row in FEW]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype("Float64")
    for row, column, value in changes:
        frame.loc[row, column] = pd.NA if value is None else value
    wrong: dict[str, list[int]] = {}
    for row, column, value in changes:
        if (value is None and column in ATTRIBUTES) or (value is not None and not abs(value) < 1e150):
            wrong.setdefault(column, []).append(row + 1)
    with duckdb.connect() as con:
        file = tmp_path / "cells.parquet"
        cells = {name: [None if value is pd.NA else float(value) for value in frame[name]] for name in COLUMNS}
        import pyarrow as pa
        from pyarrow import parquet as pq

        pq.write_table(pa.table({name: pa.array(values, pa.float64()) for name, values in cells.items()}), file)
        if not wrong and len({tuple(cells[name][row] for name in ATTRIBUTES) for row in range(8)}) == 8:
            found = california_housing.read(con, str(file)).fetchall()
            expected = [tuple(cells[name][row] for name in COLUMNS) for row in range(8)]
            assert found == expected
            assert all(math.isfinite(value) for row in found for value in row if value is not None)
            return
        with pytest.raises(SourceError) as error:
            california_housing.read(con, str(file))
    for column, at in wrong.items():
        first = ", ".join(map(str, sorted(at)[:3])) + (", …" if len(at) > 3 else "")
        assert f"{column} {UNFIT} in {len(at)} of 8 rows ({first})" in str(error.value)
    assert np.all([name in str(error.value) for name in wrong])
