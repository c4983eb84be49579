"""A bounded sample of the published rows, as a frame, and the folds of all of them as columns beside theirs."""

from dataclasses import dataclass

import duckdb
import pandas as pd
import pyarrow as pa

from ml import answers
from ml.classes import Class
from ml.columns import read_sql, value_sql
from ml.exposures import Exposure
from ml.lake import first_line
from ml.lake.engine import Engine, added, table
from ml.lake.sql import listed, literal, quoted
from ml.learning import folds, periods
from ml.learning.periods import Periods, TooFewTimesError
from ml.learning.published import CODE, RowsError, answered_sql, classes_of, coded_sql, where_of
from ml.progress import Say, following
from ml.records.publications import Publication
from ml.weights import usable_sql, weight_sql

# Folds of the splits, as columns beside the published ones; 0 of the split by time is held out from no fit.
FOLD = {"random": "random fold", "group": "group fold", "time": "time fold"}
CELL = "time cell"
MOMENT = "moment in microseconds"
WEIGHT = "weight of the row"
BLOCK = "block of rows"
SAMPLED = "in the sample"
# Rows of the sample at a time.
BATCH = 100_000


def slice_column(name: str) -> str:
    """The sample's column of a slice."""
    return f"slice {name}"


@dataclass(frozen=True)
class Rows:
    """How many rows have an answer, how many have none, the former with their folds, a sample of them, the periods, the
    classes, and the weight: see `TrainingSet`.
    """

    known: int
    unknown: int
    relation: str
    sample: pd.DataFrame
    periods: Periods | None
    classes: tuple[Class, ...]
    weight: str | None


def read(
    con: duckdb.DuckDBPyConnection, engine: Engine, exposure: Exposure, publication: Publication, say: Say
) -> Rows:
    """How many rows there are, their folds, and a sample of them.

    Raises:
        RowsError: As `training_set.read`, but for what the sums would show.
    """
    where = where_of(exposure, publication)
    sizes, unknown = _sizes(engine, exposure, publication, where)
    rows = sum(sizes.values())
    weight = _weight(engine, exposure, publication, where)
    found = classes_of(engine, exposure, publication, where)
    # quantiles of the times are of all rows at once: one column, which DuckDB reads for both
    cut = _periods(con, exposure, publication, where) if exposure.spec.split == "time" else None
    columns = _timed(exposure, cut, rows) if cut else _folded(engine, exposure, publication, sizes, where)
    folded = f"select *, {columns} from {coded_sql(exposure, publication, found)}"
    relation = f"({folded})"
    with following(con, say, "sampling", rows):
        try:
            sample = _sample(con, engine, exposure, relation, rows, CODE if found else exposure.spec.target, weight)
        except (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ParserException,
            duckdb.ConversionException,
        ) as error:
            raise RowsError(f"{where}: meta.ml.slices or a feature cannot be read: {first_line(error)}.") from None
    _check_key(sample, exposure, where)
    return Rows(rows, unknown, relation, sample, cut, found, weight)


def _sizes(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> tuple[dict[int, int], int]:
    """Rows that have their answer by bucket of groups, or in one where the spec names no group; and how many others."""
    spec = exposure.spec
    bucket, group = (folds.bucket_sql(spec.group), quoted(spec.group)) if spec.group else ("0", "0")
    known = f"filter (where {answers.known_sql(spec.target)})"
    counted = f"select {bucket}, count(*), count(*) {known}, count({group}) {known} from {publication.table} group by 1"
    found = added(engine.rows(counted), keys=1)
    rows, unknown = sum(count for _, _, count, _ in found), sum(every - count for _, every, count, _ in found)
    if rows < spec.judged_folds:
        beside = f" whose target {spec.target} is known, and {unknown:,} others" if unknown else ""
        raise RowsError(
            f"{where}, has {rows} rows{beside}; {spec.judged_folds} folds need at least as many. "
            f"Is the table built from an empty source? Otherwise lower meta.ml.{spec.folds_setting}."
        )
    if lost := sum(count - there for *_, count, there in found):
        raise RowsError(
            f"{where}: the group {spec.group} is missing in {lost} of {rows} rows. "
            "Fill it in where the table is built, and give the column the dbt test `not_null`."
        )
    return {bucket: count for bucket, _, count, _ in found if count}, unknown


def _weight(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> str | None:
    """What a row counts: its weight by the mean of all, so that penalties mean what they do where each counts once.

    Raises:
        RowsError: A weight is missing, not finite, or not above zero.
    """
    name = exposure.spec.weight
    if name is None:
        return None
    weight = weight_sql(name)
    relation = answered_sql(exposure, publication)
    usable = f"count(*) - count(*) filter (where {usable_sql(name)})"
    query = f"select sum({weight}), count({weight}), {usable}, count(*) from {relation}"
    ((weights, weighed, unusable, rows),) = added(engine.rows(query))
    if unusable:
        raise RowsError(
            f"{where}: the weight {name} is missing, or no number above zero, in {unusable:,} of {rows:,} rows. Fill "
            "it in where the table is built, or leave the rows out."
        )
    # the order of threads decides the last digits of a mean: no model is to depend on them
    return f"{weight} / {literal(float(f'{weights / weighed:.6g}'))}"


def _periods(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, where: str) -> Periods:
    time = exposure.spec.time
    assert time is not None
    relation, value = answered_sql(exposure, publication), value_sql(time, "date")
    query = f"select count(*) - count({value}), count(*) filter (where not isfinite({value})), count(*) from {relation}"
    ((missing, infinite, rows),) = con.execute(query).fetchall()
    if missing or infinite:
        found = f"missing in {missing:,}" if missing else f"infinite in {infinite:,}"
        raise RowsError(
            f"{where}: the time {time} is {found} of {rows:,} rows. Fill it in where the table is built, or leave the "
            "rows out, and give the column the dbt test `not_null`."
        )
    try:
        return periods.cut(con, relation, time, exposure.spec.backtest)
    except TooFewTimesError as error:
        raise RowsError(f"{where}: column {error}. Lower meta.ml.backtest.folds.") from None


def _timed(exposure: Exposure, cut: Periods, rows: int) -> str:
    """A list to select: the period, the cell, the time as a number, and whether the row is sampled."""
    spec = exposure.spec
    assert spec.time is not None
    columns = {
        FOLD["time"]: cut.fold_sql(spec.time),
        CELL: cut.cell_sql(spec.time),
        MOMENT: periods.moment_sql(spec.time),
        SAMPLED: folds.sampled_sql(spec.key_columns, rows, exposure.sample_rows, spec.seed),
    }
    return ", ".join(f"{value} as {quoted(name)}" for name, value in columns.items())


def _folded(engine: Engine, exposure: Exposure, publication: Publication, sizes: dict[int, int], where: str) -> str:
    """A list to select: the folds, and whether the row is sampled."""
    spec = exposure.spec
    rows = sum(sizes.values())
    columns = [f'{_random_fold(engine, exposure, publication, rows)} as "{FOLD["random"]}"']
    sampled = folds.sampled_sql(spec.key_columns, rows, exposure.sample_rows, spec.seed)
    if spec.group:
        columns.append(f'{_group_fold(engine, exposure, publication, sizes, where)} as "{FOLD["group"]}"')
        chosen = folds.sampled_buckets(sizes, exposure.sample_rows, spec.folds, spec.seed)
        if rows > exposure.sample_rows and chosen:
            sampled = folds.in_buckets_sql(spec.group, chosen)
    return f"{', '.join(columns)}, {sampled} as {quoted(SAMPLED)}"


def _random_fold(engine: Engine, exposure: Exposure, publication: Publication, rows: int) -> str:
    """The random fold of a row: by the hash of its key, or dealt where so few rows leave a fold without any."""
    spec = exposure.spec
    by_hash = folds.random_sql(spec.key_columns, spec.folds, spec.seed)
    if rows < folds.FEW_ROWS * spec.folds:
        used = engine.rows(f"select distinct {by_hash} from {answered_sql(exposure, publication)}")
        if len(set(used)) < spec.folds:
            if engine.parts:
                raise RowsError(
                    f"{publication.publication_id}, read by exposure {exposure.name}, has {rows} rows, which no engine "
                    "deals into folds: leave meta.ml.engine out, or raise meta.ml.spark_above_rows."
                )
            return folds.dealt_sql(spec.key_columns, spec.folds, spec.seed)
    return by_hash


def _group_fold(engine: Engine, exposure: Exposure, publication: Publication, sizes: dict[int, int], where: str) -> str:
    """The fold of a row's group: of its bucket, or its own where so few groups share buckets that a fold has none."""
    spec = exposure.spec
    assert spec.group is not None
    if len(sizes) >= spec.folds:
        return folds.group_sql(spec.group, folds.assign(sizes, spec.folds))
    hashed = f"select {folds.hash_sql(spec.group)}, count(*) from {answered_sql(exposure, publication)} group by 1"
    groups: dict[int, int] = dict(added(engine.rows(hashed), keys=1))
    if len(groups) < spec.folds:
        raise RowsError(
            f"{where}: column {spec.group} has {len(groups)} groups; {spec.folds} folds by group need at least as "
            "many. Lower meta.ml.folds or choose another group."
        )
    return folds.few_groups_sql(spec.group, folds.assign(groups, spec.folds))


def _sample(
    con: duckdb.DuckDBPyConnection,
    engine: Engine,
    exposure: Exposure,
    relation: str,
    rows: int,
    answer: str,
    weight: str | None,
) -> pd.DataFrame:
    spec = exposure.spec
    # as text, which SQL casts back to the same value: a frame has no decimals
    key = listed(spec.key_columns, of="published")
    texts = [f"cast(published.{name} as varchar) as {name}" for name in map(quoted, spec.key_columns)]
    labels = [*texts, *(quoted(FOLD[split]) for split in spec.splits)]
    if spec.split == "time":
        labels.append(quoted(MOMENT))
    if weight:
        labels.append(f"{weight} as {quoted(WEIGHT)}")
    labels.append(f'{folds.bucket_sql(*(spec.group,) if spec.group else spec.key_columns)} as "{BLOCK}"')
    for name, value in spec.slices.items():
        labels.append(f"coalesce(cast({value} as varchar), 'none') as {quoted(slice_column(name))}")
    sampled = f"where {quoted(SAMPLED)}" if rows > exposure.sample_rows else ""
    kind = "double" if exposure.task == "regression" else "bigint"
    values = f"{read_sql(exposure.kinds)}, cast({quoted(answer)} as {kind}) as {quoted(spec.target)}"
    if not engine.parts:
        return con.execute(
            f"select {', '.join(labels)}, {values} from {relation} as published {sampled} order by {key}"
        ).df()
    parts = pa.concat_tables(
        engine.each(f"select {', '.join(labels)}, {values} from {relation} as published {sampled}", BATCH, table)
    )
    # not of the exposure, which may be made of a version, and then knows no type of the key
    types = engine.types(f"select {key} from {relation} as published")
    ordered = ", ".join(f"cast({quoted(name)} as {types[name.lower()]})" for name in spec.key_columns)
    with con.cursor() as local:
        return local.register("parts", parts).execute(f"select * from parts order by {ordered}").df()


def _check_key(sample: pd.DataFrame, exposure: Exposure, where: str) -> None:
    columns = exposure.spec.key_columns
    key = sample[list(columns)]
    wrong = int(key.duplicated().sum()) or int(key.isna().any(axis=1).sum())
    if wrong:
        one = len(columns) == 1
        tests = (
            "the column the dbt tests `unique`" if one else "the table the dbt test `tract.unique_together`, and each"
        )
        raise RowsError(
            f"{where}: the key {', '.join(columns)} is missing or repeated in {wrong} rows. Give {tests} "
            f"{'and' if one else 'column'} `not_null`, so that such a build is not published."
        )
