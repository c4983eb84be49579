"""A process of sensors enters the lake once, and anew where that connection failed."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from orchestration.door import Door


def test_it_enters_once_and_anew_after_a_failure(home: Path) -> None:
    door, entered = Door(), []

    def look(con: duckdb.DuckDBPyConnection) -> dg.SensorResult:
        assert con.execute("select count(*) from ducklake_snapshots('lake')").fetchall() == [(1,)]
        entered.append(door.con)
        return dg.SensorResult(skip_reason="looked")

    def fail(con: duckdb.DuckDBPyConnection) -> dg.SensorResult:
        raise duckdb.IOException("S3 is away")

    door.tick(look)
    door.tick(look)
    assert entered[0] is entered[1]
    with pytest.raises(duckdb.IOException, match="S3 is away"):
        door.tick(fail)
    assert door.con is None
    door.tick(look)
    assert entered[2] is not entered[1]


def test_a_lake_without_tables_is_nothing_to_look_at(home: Path) -> None:
    def look(con: duckdb.DuckDBPyConnection) -> dg.SensorResult:
        con.execute("from lake.ops.publications")
        raise AssertionError("there is no such table")

    said = Door().tick(look).skip_reason
    assert isinstance(said, dg.SkipReason)
    assert said.skip_message == "Nothing was built in this lake yet: start with `dbt build`."
