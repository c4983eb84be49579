"""Data tests and counts of large tables by the engine: the numbers that DuckDB has, of rows that fail too."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ml import publishing
from ml.exposures import Exposure
from ml.records import publications
from ml.spark import testing
from ml.spark.engine import Spark
from ml.spark.session import RefusedError
from tests.bench import lakes
from tests.conftest import cloned_lake
from tests.dbt.conftest import copied, lake_of, publications_of, replace_in
from tests.ml import classified, mixed
from tests.spark.processes import dbt

pytestmark = [pytest.mark.spark, pytest.mark.xdist_group("spark"), pytest.mark.slow]

TESTED, PARENT = '"lake"."features"."tested"', '"lake"."features"."parent"'
ROWS = f"""
    create table {TESTED} as select
        i as id,
        case when i % 50 > 0 then 'k' || (i % 900) end as k,
        case i % 40 when 0 then 'nan'::double when 1 then 0.0 when 2 then -0.0 when 4 then 'infinity'::double
            when 5 then '-infinity'::double when 3 then null else i / 7 end as x,
        (i % 9)::decimal(9, 2) as "d of", i % 2 = 0 as b
    from range(1000) as t(i)
"""
UNIQUE = (
    "select {0} as unique_field, count(*) as n_records from {1} where {0} is not null group by {0} having count(*) > 1"
)
QUERIES = {
    "not_null": f"select k from {TESTED} where k is null",
    "unique": UNIQUE.format("k", TESTED),
    "unique of NaN and zeros": UNIQUE.format("x", TESTED),
    "unique_together": f'select k, "d of" from {TESTED} group by k, "d of" having count(*) > 1',
    "between": f"select x from {TESTED} where x is null or isnan(x) or x < 2 or x > 50",
    "NaN is the greatest": f"select x from {TESTED} where x > 50",
    "NaN is the greatest, translated": f"select k from {TESTED} where x > 50 group by k having count(*) > 1",
    "complete": f'select * from {TESTED} where false or k is null or x is null or "d of" is null',
    "a row as one value": f"select id from {TESTED} where hash(tested) % 2 = 0",
    "any column": f"select id from {TESTED} where id in (select id from {PARENT}) and k is null",
    "where": f"select k from (select * from {TESTED} where b) dbt_subquery where k is null",
    "accepted_values": f"""
        with all_values as (select k as value_field, count(*) as n_records from {TESTED} group by k)
        select * from all_values where value_field not in ('k1', 'k2', 'none')
    """,
    "relationships": f"""
        with child as (select id as from_field from {TESTED} where id is not null),
        parent as (select id as to_field from {PARENT})
        select from_field from child left join parent on child.from_field = parent.to_field
        where parent.to_field is null
    """,
    "counts": f"""
        with counted as (select (select count(*) from {TESTED}) as found, (select count(*) from {PARENT}) as expected)
        select * from counted where found <> expected
    """,
    "an aggregate alone": f"select count(distinct k) as n from {TESTED} having count(distinct k) < 5000",
    "none": f"select k from {TESTED} where id < 0  -- the end",
}


@pytest.fixture
def tested(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    con.execute(ROWS)
    con.execute(f"create table {PARENT} as select id from {TESTED} where id % 3 > 0")
    return con


@pytest.mark.usefixtures("in_four")
def test_each_kind_of_test_finds_what_duckdb_finds_in_threads_too(
    tested: duckdb.DuckDBPyConnection, engine: str
) -> None:
    def found(name: str) -> Any:
        with tested.cursor() as con:
            return testing.failures(con, QUERIES[name], "count(*)", name)

    expected = {
        name: tested.execute(f"select count(*) from ({sql}\n)").fetchall()[0][0] for name, sql in QUERIES.items()
    }
    with ThreadPoolExecutor(4) as threads:
        assert dict(zip(QUERIES, threads.map(found, QUERIES), strict=True)) == expected
    assert expected["unique"] == 98
    assert expected["none"] == 0
    assert expected["unique of NaN and zeros"] == 4
    assert sum(failures > 0 for failures in expected.values()) == len(QUERIES) - 1


@pytest.mark.parametrize(("counted", "found"), [("sum(n_records)", 196), ("max(n_records)", 2), ("min(n_records)", 2)])
def test_another_number_than_the_rows(tested: duckdb.DuckDBPyConnection, engine: str, counted: str, found: int) -> None:
    assert testing.failures(tested, QUERIES["unique"], counted, "unique") == found


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (f"select k from {TESTED} where k is null limit 3", "nobody's promise"),
        (
            f"select hash(k) as h from {TESTED} group by 1 having count(*) > 1",
            "HASH(tested.k): DuckDB's hash() is no other",
        ),
        ("select 1 as one", "reads no table of the lake"),
        ("select schema_name from duckdb_schemas() where schema_name is null", "reads no table of the lake"),
        (f"select t.k from {TESTED} as t join memory.main.extra as e on e.k = t.k", "which is in no file of the lake"),
        (f"select gone from {TESTED}", 'cannot be bound: Binder Error: Referenced column "gone" not found'),
        (f"select id from {PARENT} group by id", "parent has deleted rows at snapshot"),
    ],
)
def test_what_is_left_to_duckdb(tested: duckdb.DuckDBPyConnection, engine: str, sql: str, why: str) -> None:
    tested.execute("create table memory.main.extra as select 'k1' as k")
    tested.execute(f"delete from {PARENT} where id = 1")
    with pytest.raises(RefusedError) as refused:
        testing.failures(tested, sql, "count(*)", "test")
    assert why in str(refused.value)


def test_a_table_is_large_by_the_catalog(tested: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_SPARK_TESTS_ABOVE_ROWS", "999")
    assert testing.is_large(tested, ["features.parent", "features.tested"])
    assert not testing.is_large(tested, ["features.parent", "features.gone"])
    tested.execute(f"insert into {PARENT} select id from {TESTED}")
    assert testing.is_large(tested, ["features.parent"])
    monkeypatch.setenv("TRACT_SPARK_TESTS_ABOVE_ROWS", "2000")
    assert not testing.is_large(tested, ["features.parent"])


def counted(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> tuple[list[int | None], list[int | None]]:
    """What is counted of the newest publication, by DuckDB and by the engine."""
    newest = publications.newest(con, exposure.relation)
    assert newest is not None
    here = con.execute(publishing.learnable_sql(exposure, newest.table)).fetchall()[0]
    spark = Spark(con, exposure.relation, newest.snapshot_id, newest.table)
    return list(here), publishing.counted_in_parts(exposure, spark)


@pytest.mark.usefixtures("in_four")
def test_what_is_counted_before_a_publication(con: duckdb.DuckDBPyConnection, engine: str, exposure: Exposure) -> None:
    made = """
        create or replace table lake.features.points as select
            case when i % 90 > 0 then 'k' || (i % 380) end as id, {a} as a,
            case when i % 7 = 0 then 1e300 else i end as b,
            case when i % 11 > 0 then 'c' || (i % 20) end as cell, {y} as y
        from range(400) as t(i)
    """
    nan = "case when i % 8 = 0 then 'nan'::double else i end"
    found = {}
    for name, a, y in (
        ("gaps", nan, "case when i % 5 > 0 then i / 3 end"),
        ("like classes", "i", "case when i % 5 > 0 then i % 3 end"),
        ("of one that is not whole", "i", "case when i = 7 then 0.5 else i % 3 end"),
        ("without answers", "i", "null::double"),
    ):
        lakes.publish(con, [made.format(a=a, y=y)], name)
        here, found[name] = counted(con, exposure)
        assert found[name] == here, name
    assert found["like classes"][3] == 3
    assert found["of one that is not whole"][3] is None
    assert found["gaps"][4:6] == [5, 29]
    spec = exposure.spec.model_copy(update={"key": ["id", "cell"], "group": None, "weight": "a"})
    here, there = counted(con, replace(exposure, spec=spec))
    assert there == here


@pytest.mark.usefixtures("in_four")
def test_what_is_counted_of_columns_of_every_kind(con: duckdb.DuckDBPyConnection, engine: str) -> None:
    mixed.publish(con, mixed.frame())
    timed = mixed.exposure()
    spec = timed.spec.model_copy(update={"time": mixed.SINCE, "split": "time"})
    for exposure in (mixed.exposure(), replace(timed, spec=spec)):
        here, there = counted(con, exposure)
        assert there == here
    for target in ("order", "Klasse"):
        exposure = classified.exposure(target)
        classified.publish(con, classified.frame(), exposure, target)
        here, there = counted(con, exposure)
        assert there == here
        assert there[3] == 3


SOME = {
    "        block_group_id,\n": """
        case
            when population < 50 then null
            when population < 100 then concat('few ', cast(cast(floor(house_age_years) as integer) as varchar))
            else block_group_id
        end as block_group_id,
    """,
    "        median_income_usd,\n": """
        case when latitude > 41 then 'nan'::double when latitude > 40 then null else median_income_usd end
            as median_income_usd,
    """,
}
HASHED = "select hash(block_group_id) as h from {{ ref('housing_features') }} group by 1 having count(*) > 1"


def results(home: Path) -> dict[str, tuple[str, int | None]]:
    """The status and the failures of each test of the last invocation."""
    ended = json.loads((home / "target" / "run_results.json").read_text())["results"]
    return {
        one["unique_id"].split(".")[2]: (one["status"], one["failures"])
        for one in ended
        if one["unique_id"].startswith("test.")
    }


def test_rows_that_fail_fail_on_the_engine_as_they_do_here(
    servers: Path, after_a_build: Path, engine: str, tmp_path: Path
) -> None:
    home, project = cloned_lake(servers, after_a_build, tmp_path / "home"), copied(tmp_path)
    features = project / "dbt_project" / "housing" / "models" / "features" / "housing_features.sql"
    for old, new in SOME.items():
        replace_in(features, old, new)
    (project / "dbt_project" / "housing" / "tests" / "hashes_differ.sql").write_text(HASHED)
    build = ("build", "--select", "housing_features", "--exclude-resource-type", "unit_test")
    told = dbt(home, *build, project=project, TRACT_SPARK_TESTS_ABOVE_ROWS="1000")
    assert told.returncode == 1, told.stdout
    there = results(home)
    ran = {name for name in there if f"Spark ran the test {name} in" in told.stdout}
    assert ran == set(there) - {"hashes_differ"}
    assert re.search(r"DuckDB runs this test: hashes_differ is not the engine's: line \d+: HASH\(", log(home))
    assert "Not published: features.housing_features, because its test" in told.stdout

    # above the size only
    told = dbt(home, "test", *build[1:], project=project, TRACT_SPARK_TESTS_ABOVE_ROWS="20640")
    assert "Spark ran" not in told.stdout
    assert results(home) == there
    failing = {name: failures for name, (status, failures) in there.items() if status == "fail"}
    assert len(failing) == 4
    with lake_of(home) as con:
        ((nulls, incomes),) = con.execute(
            "select count(*) filter (where block_group_id is null), "
            "count(*) filter (where latitude > 40) from lake.features.housing_features"
        ).fetchall()
    assert failing["not_null_housing_features_block_group_id"] == nulls > 100
    assert incomes in failing.values()

    told = dbt(
        home, "test", *build[1:], project=project, TRACT_SPARK_TESTS_ABOVE_ROWS="0", TRACT_SPARK="sc://127.0.0.1:1"
    )
    assert told.returncode == 1
    assert "The engine at sc://127.0.0.1:1 (TRACT_SPARK) is not there: [Errno 111] Connection refused." in told.stdout
    assert "Traceback" not in told.stdout
    assert {name for name, (status, _) in results(home).items() if status == "error"} == ran
    assert len(publications_of(home)) == 1


def log(home: Path) -> str:
    return (home / "logs" / "dbt.log").read_text()
