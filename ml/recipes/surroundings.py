"""What surrounds each row on the globe: the named columns of its nearest rows, summed up. No target is read."""

from collections.abc import Iterator, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import ColumnExpression, SQLExpression
from duckdb.sqltypes import DOUBLE
from scipy.spatial import cKDTree

from ml.recipes.arrays import Integers, Matrix, Vector
from ml.recipes.nearest import nearest as nearest_points

EARTH_KM = 6371.0088  # mean radius
# Rows in memory at a time: with 200 neighbours and 6 columns, 2,000 rows gather 19 MB.
BATCH = 2_000


class SurroundingsError(Exception):
    """The rows cannot be placed among each other; the message says what was found."""


def nearest(
    rows: duckdb.DuckDBPyRelation,
    key: str,
    latitude: str,
    longitude: str,
    columns: Mapping[str, str],
    compared: Sequence[str],
    counts: Sequence[int],
    batch: int = BATCH,
) -> pa.RecordBatchReader:
    """Each row's key and what its nearest rows are like, in the order of the key; read in batches.

    Distances are those of great circles, and the row itself is left out. Rows are sorted by their key first, and summed
    from near to far: of rows equally far the same ones count each time, in whatever order rows arrive.

    Args:
        rows: Any relation; only the key, the position and `columns` are read.
        latitude: Column, in degrees north.
        longitude: Column, in degrees east.
        columns: Name → SQL expression over the rows' own columns, numbers.
        compared: Names among `columns` that get a spread and the row's own rank beside the mean.
        counts: Numbers of neighbours to sum up; all other rows where a table has fewer.

    Returns:
        Batches of the key and, for each count k, doubles: `<name>_near_<k>`, the mean of a column;
        `<name>_spread_<k>`, its population standard deviation; `<name>_rank_<k>`, the share of the neighbours with
        less than the row, from 0 to 1; `km_to_<k>`, the distance of the farthest of the k, in km.

    Raises:
        SurroundingsError: There is a single row, or a position or value is missing or not finite.
    """
    position = {name: ColumnExpression(name) for name in (latitude, longitude)}
    expressions = {**position, **{name: SQLExpression(expression) for name, expression in columns.items()}}
    selected = [expression.cast(DOUBLE).alias(name) for name, expression in expressions.items()]
    table = rows.select(ColumnExpression(key), *selected).sort(ColumnExpression(key)).to_arrow_table()
    values = {name: table.column(name).to_numpy().astype(np.float64) for name in expressions}
    _check(values, table.num_rows)
    place = _on_globe(values[latitude], values[longitude])
    known = np.column_stack([values[name] for name in columns])
    of = {name: list(columns).index(name) for name in compared}
    keys = table.column(key).combine_chunks()
    schema = pa.schema([table.schema.field(key), *((name, pa.float64()) for name in _names(columns, compared, counts))])

    def batches() -> Iterator[pa.RecordBatch]:
        tree = cKDTree(place)
        for start in range(0, len(place), batch):
            own = np.arange(start, min(start + batch, len(place)))
            chord, near = nearest_points(tree, place[own], max(counts), start)
            km = 2 * EARTH_KM * np.arcsin(chord / (2 * EARTH_KM))
            summed = _summed(known, own, near, km, of, counts)
            yield pa.record_batch([keys[start : start + len(own)], *summed], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _check(values: Mapping[str, Vector], rows: int) -> None:
    if rows == 1:
        raise SurroundingsError("The table has a single row, which has no neighbours. Is its source complete?")
    for name, numbers in values.items():
        if lost := int(np.count_nonzero(~np.isfinite(numbers))):
            raise SurroundingsError(
                f"Column {name} is missing or not finite in {lost} of {rows} rows, so that neighbours cannot be "
                "summed up. Fill it in where the table is built."
            )


def _names(columns: Mapping[str, str], compared: Sequence[str], counts: Sequence[int]) -> list[str]:
    """The columns that are added, in the order of `_summed`."""
    return [
        name
        for k in counts
        for name in (
            *(f"{column}_near_{k}" for column in columns),
            *(f"{column}_{what}_{k}" for column in compared for what in ("spread", "rank")),
            f"km_to_{k}",
        )
    ]


def _on_globe(latitude: Vector, longitude: Vector) -> Matrix:
    """Points in km from the earth's centre, shape (rows, 3): near and far as on the sphere, with no projection."""
    north, east = np.radians(latitude), np.radians(longitude)
    return EARTH_KM * np.column_stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])


def _summed(
    known: Matrix,
    own: Integers,
    near: Integers,
    km: Matrix,
    of: Mapping[str, int],
    counts: Sequence[int],
) -> list[Vector]:
    """The columns of a batch, each of shape (own,)."""
    around = known[near]  # (own, most, columns)
    sums = np.cumsum(around, axis=1)  # one after the other from near to far: the same bits in any batch
    columns = []
    for count in counts:
        k = min(count, near.shape[1])
        columns.extend(sums[:, k - 1].T / k)
        for column in of.values():
            apart = around[:, :k, column] - sums[:, k - 1, column, None] / k
            columns.append(np.sqrt(np.mean(apart**2, axis=1)))
            columns.append(np.mean(around[:, :k, column] < known[own, column, None], axis=1))
        columns.append(km[:, k - 1])
    return columns
