"""A key of any type that is taken comes back as it was, from every table and replay; any other is refused by name."""

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from ml import lake
from ml.exposures import Exposure
from ml.lake.sql import is_key
from ml.manifest import SpecError, read_exposures
from ml.records import champions, migrations, predictions, publications, tables
from ml.replay import replay
from ml.spec import CandidateSpec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import POINTS
from tests.ml.rows import silent
from tests.ml.test_exposures import manifest

ROWS = 60
# From a number 0 to 59, a key of each type where it is hardest to keep.
KEYS = {
    "decimal(38,0)": "12345678901234567890123456789012345000::decimal(38,0) + i",
    "decimal(18,3)": "i + 0.001",
    "ubigint": "18446744073709550000::ubigint + i::ubigint",
    "bigint": "9223372036854775000 + i",
    "uuid": "md5(i::varchar)::uuid",
    "varchar": """case i when 0 then '' when 1 then 'None' when 2 then 'nan' else 'ü''"{$x}' || chr(10) || i end""",
    "date": "date '0001-01-01' + i::int",
    "timestamp": "timestamp '1500-01-01 00:00:00.123456' + interval (i) microsecond",
    "timestamp_s": "timestamp '2500-01-01' + interval (i) second",
    "timestamp_ms": "timestamp '2500-01-01' + interval (i) millisecond",
    "timestamp_ns": "make_timestamp_ns(1700000000000000001 + i)",
    "timestamptz": "timestamptz '2500-01-01 00:00:00.1+02' + interval (i) hour",
    "time": "time '00:00:00.000001' + interval (i) microsecond",
    "blob": "'\\x00\\xFF'::blob || encode(i::varchar)",
    "double": "1 / (i + 3)",
    "real": "1 / (i + 3)",
}
REFUSED = ("hugeint", "uhugeint", "boolean", "interval", "timetz", "enum('a', 'b')", "bit", "json", "integer[]")


@pytest.fixture
def con(home: object) -> Iterator[duckdb.DuckDBPyConnection]:
    with lake.connect() as con:
        for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [])]:
            con.execute(statement)
        con.execute("create schema lake.features")
        yield con


def publish(con: duckdb.DuckDBPyConnection, exposure: Exposure, key: str) -> str:
    """A table whose target follows a alone, published; the publication's id."""
    con.execute("begin")
    con.execute(
        f"""
        create table lake.{exposure.relation} as
        select cast({key} as {exposure.columns["id"]}) as id, cast(i * i % {ROWS} as double) as a,
            hash(i) % 7 / 7 as b, 'c' || (i % 6) as cell, 3.0 * (i * i % {ROWS}) + hash(i) % 5 as y
        from range({ROWS}) as t(i)
        """
    )
    con.execute(f"call lake.set_commit_message('dbt', 'keys', extra_info => '{exposure.relation}')")
    con.execute("commit")
    for statement in tables.statements([exposure]):
        con.execute(statement)
    ((snapshot,),) = con.execute(publications.snapshot_sql("keys", exposure.relation)).fetchall()
    con.execute(publications.insert_sql("keys", exposure.relation, str(snapshot)))
    return f"{exposure.relation}@{snapshot}"


def test_each_type_is_the_same_as_text_in_a_frame_and_back_in_parquet(con: duckdb.DuckDBPyConnection) -> None:
    keys = ", ".join(f"cast({key} as {kind}) as k{n}" for n, (kind, key) in enumerate(KEYS.items()))
    con.execute(f"create temp table made as select i, {keys} from range({ROWS}) as t(i)")
    con.execute("create table lake.features.kept as from made")
    con.execute("create table lake.features.back as from made limit 0")
    texts = ", ".join(f"cast(k{n} as varchar) as k{n}" for n in range(len(KEYS)))
    tables.append(con, "features.back", con.execute(f"select {texts} from lake.features.kept").df(), {"i": 0})
    for n, kind in enumerate(KEYS):
        found = con.execute(
            f"select count(*), count(distinct hash(made.k{n})) from made "
            f"join lake.features.kept as kept on made.i = kept.i and made.k{n} = kept.k{n} "
            f"join lake.features.back as back on made.k{n} = back.k{n}"
        ).fetchall()
        assert found == [(ROWS, ROWS)], kind


def test_a_key_joins_back_from_every_table(con: duckdb.DuckDBPyConnection) -> None:
    tree = CandidateSpec(name="tree", estimator="sklearn.tree.DecisionTreeRegressor", parameters={"random_state": 0})
    for number, kind in enumerate(("decimal(38,0)", "blob")):
        exposure = replace(
            POINTS,
            name=f"points_{number}",
            relation=f"features.points_{number}",
            columns={**POINTS.columns, "id": kind.upper()},
            spec=POINTS.spec.model_copy(update={"predictions": f"predictions_{number}", "candidates": (tree,)}),
        )
        publication = publish(con, exposure, KEYS[kind])
        made = consume_and_complete(exposure)
        assert made is not None and (made.outcome, made.predicted_rows) == ("trained", ROWS), kind
        for table, times in ((exposure.spec.predictions, 1), (exposure.heldout, 2)):
            joined = con.execute(
                f"select count(*), count(distinct id) from lake.ml.{table} join lake.{exposure.relation} using (id)"
            ).fetchall()
            assert joined == [(times * ROWS, ROWS)], (kind, table)
        true = con.execute(
            f"select count(*) from lake.ml.{exposure.heldout} join lake.{exposure.relation} using (id) where actual = y"
        ).fetchall()
        assert true == [(2 * ROWS,)], kind
        newest = champions.newest_predicted(con, exposure)
        assert newest is not None
        texts = con.execute(
            f"select cast(id as varchar) from lake.{exposure.relation} order by lake.{exposure.relation}.id"
        )
        expected = [text for (text,) in texts.fetchall()]
        assert predictions.standing(con, exposure, newest, 5)["id"].tolist() == expected[:5], kind
        if kind == "decimal(38,0)":
            again = replay(exposure, publication, say=silent)
            assert (again.largest_difference, again.predictions["id"].tolist()) == (0.0, expected), kind


@pytest.mark.parametrize("kind", REFUSED)
def test_a_key_that_the_lake_would_change_is_refused(kind: str) -> None:
    columns = {"id": kind, "a": "double", "b": "double", "cell": "varchar", "y": "double"}
    with pytest.raises(SpecError) as error:
        read_exposures(manifest(columns=columns))
    assert str(error.value) == (
        f"Exposure points (models/exposures.yml): the key id of features.points is {kind.upper()}, which the lake does "
        "not keep as it is. Cast it to varchar where the table is built; keys are integers of up to 64 bits, decimals, "
        "floats, texts, UUIDs, dates, times, timestamps or blobs."
    )


def test_each_name_of_a_type_is_judged_as_the_type() -> None:
    """By all names that DuckDB has, but of those that take parameters."""
    with duckdb.connect() as con:
        named = con.execute("select distinct lower(type_name), lower(logical_type) from duckdb_types()").fetchall()
    taken = {*KEYS, "float", "decimal", "timestamp with time zone", "integer", "smallint", "tinyint"}
    taken |= {"uinteger", "usmallint", "utinyint"}
    wrong = [name for name, kind in named if is_key(name) != (kind in taken) and name != "json"]
    assert wrong == []
