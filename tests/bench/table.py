"""The landed table of the bench: the real block groups over and over, each copy with noise of its own, on disk."""

from pathlib import Path

import duckdb

from dbt_project.housing import source as california_housing

# Each number of each copy is off by up to a hundredth; whole numbers and places by as much as keeps them plausible.
NOISE = 0.01


def write(rows: int, path: Path) -> None:
    """Write a parquet file with the nine columns of scikit-learn's loader; the same rows each time it is asked."""
    frame = california_housing.fetch()  # noqa: F841  DuckDB reads it by its name
    noisy = ", ".join(f"cast({_noisy(name)} as double) as {name}" for name in california_housing.COLUMNS)
    with duckdb.connect() as con:
        con.execute("set preserve_insertion_order = false")
        con.execute("create table real as select row_number() over () - 1 as i, * from frame")
        copies = rows // 20_640 + 1
        con.execute(
            f"""
            copy (
                select {noisy}
                from (select real.*, copy * 20640 + i as n from range({copies}) as copies(copy), real)
                where n < {rows}
            ) to '{path}' (format parquet)
            """
        )


def _noisy(name: str) -> str:
    noise = f"(hash(n, '{name}') / 18446744073709551616.0 - 0.5) * 2 * {NOISE}"
    if name in ("HouseAge", "Population"):
        return name
    return f"{name} + {noise}" if name in ("Latitude", "Longitude") else f"{name} * (1 + {noise})"
