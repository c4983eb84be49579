"""The terms of a linear model: what it makes of the published features."""

from typing import Any

import duckdb

from ml.columns import LEVELS, number_sql, value_sql
from ml.exposures import Exposure
from ml.lake.engine import Engine, added
from ml.lake.sql import LARGEST, literal
from ml.learning.encoding import LEAST_ROWS
from ml.learning.published import RowsError, answered_sql
from ml.linear.terms import Level, Term, Value
from ml.records.publications import Publication

# Levels of a column that a linear model tells apart, the most frequent.
MOST_LEVELS = 50
# Values of a column that an engine's part tells of, the most frequent there: where all have fewer, none is missed.
PART_LEVELS = 100_000


def of(
    con: duckdb.DuckDBPyConnection, engine: Engine, exposure: Exposure, publication: Publication, where: str
) -> tuple[Term, ...]:
    """What a linear model makes of the features, in the order of `encoder.fitted`.

    Raises:
        RowsError: A code is not finite, or a date is.
    """
    kinds = exposure.kinds
    nulls = publication.nulls(con, kinds, engine)
    if set(kinds.values()) == {"number"} and not any(nulls.values()):
        return tuple(Value(name) for name in kinds)
    _check_finite(engine, exposure, publication, where)
    relation = answered_sql(exposure, publication)
    found: list[Term] = []
    for kind in ("number", "date"):
        names = [name for name in kinds if kinds[name] == kind]
        values = {name: number_sql(name, kind) for name in names}
        # of what is not finite the sums will tell
        usable = [(value, f"filter (where abs({value}) < {literal(LARGEST)})") for value in values.values()]
        sums = [f"sum({value}) {which}, count({value}) {which}" for value, which in usable]
        filled = added(engine.rows(f"select {', '.join(sums)} from {relation}"))[0] if sums else ()
        means = [total / count if count else 0.0 for total, count in zip(filled[::2], filled[1::2], strict=True)]
        found += [Value(name, kind, mean) for name, mean in zip(names, means, strict=True)]
        found += [Level(name, kind, None) for name in names if nulls[name]]
    levels = [name for name in kinds if kinds[name] in LEVELS]
    for name in sorted(levels, key=lambda name: LEVELS.index(kinds[name])):
        kind, value = kinds[name], value_sql(name, kinds[name])
        # a text that SQL cannot write is no level of its own
        told = f"value is not null{' and not contains(value, chr(0))' if kind == 'text' else ''}"
        frequent = _frequent(engine, f"select {value} as value from {relation}", told)
        found += [Level(name, kind, level) for level in sorted(frequent)]
        if nulls[name] or not frequent:
            found.append(Level(name, kind, None))
    return tuple(found)


def _frequent(engine: Engine, values: str, told: str) -> list[Any]:
    """The most frequent values of a query's column `value`, the most frequent first."""
    grouped = f"from ({values}) where {told} group by value"
    if not engine.parts:
        rows = engine.rows(
            f"select value {grouped} having count(*) >= {LEAST_ROWS} order by count(*) desc, value limit {MOST_LEVELS}"
        )
        return [row[0] for row in rows]
    counted = f"select value, count(*) {grouped} order by count(*) desc, value limit {PART_LEVELS}"
    found = [row for row in added(engine.rows(counted), keys=1) if row[1] >= LEAST_ROWS]
    return [value for value, _ in sorted(found, key=lambda row: (-row[1], row[0]))[:MOST_LEVELS]]


def _check_finite(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> None:
    """See that codes and dates are finite: numbers are seen to be while they are summed."""
    values = {name: value_sql(name, kind) for name, kind in exposure.kinds.items() if kind in ("code", "date")}
    if not values:
        return
    counts = ", ".join(f"count(*) filter (where not isfinite({value}))" for value in values.values())
    (found,) = added(engine.rows(f"select {counts} from {publication.table}"))
    for name, count in zip(values, found, strict=True):
        if count:
            raise RowsError(
                f"{where}: column {name!r} has {count} values that are not finite: only finite ones are allowed; fill "
                "them or filter the rows where the table is made"
            )
