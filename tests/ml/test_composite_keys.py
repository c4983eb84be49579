"""A key of several columns, the group or the time among them, identifies rows as one column does, in every table."""

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from ml import consumption
from ml.exposures import Exposure
from ml.manifest import SpecError, read_exposures
from ml.records import champions, predictions, publications, tables
from ml.replay import replay
from ml.spec import CandidateSpec, Spec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import POINTS
from tests.ml.rows import silent
from tests.ml.test_exposures import manifest

STORES, DAYS = 12, 30
KEY = ("order", "the day")
COLUMNS = {"order": "VARCHAR", "the day": "DATE", "a": "DOUBLE", "b": "DOUBLE", "y": "DOUBLE"}
TREE = CandidateSpec(name="tree", estimator="sklearn.tree.DecisionTreeRegressor", parameters={"random_state": 0})
JOIN = 'using ("order", "the day")'


def visits(**settings: Any) -> Exposure:
    spec = Spec.model_validate(
        {"key": KEY, "target": "y", "candidates": ["ridge"], "predictions": "visits", **settings}
    )
    return replace(POINTS, name="visits", relation="features.visits", columns=COLUMNS, spec=spec)


def publish(con: duckdb.DuckDBPyConnection, exposure: Exposure, shift: int = 0) -> str:
    """A row per store and day, published; no column identifies a row alone, and both repeat."""
    con.execute("begin")
    con.execute(
        f"""
        create or replace table lake.{exposure.relation} as
        select
            's' || i % {STORES} as "order", date '2026-01-01' + cast(i // {STORES} as integer) as "the day",
            cast(i * 7 % 31 as double) as a, hash(i) % 9 / 9 as b, 3.0 * (i * 7 % 31) + hash(i) % 5 + {shift} as y
        from range({STORES * DAYS}) as t(i)
        """
    )
    invocation = f"visits {shift}"
    con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => '{exposure.relation}')")
    con.execute("commit")
    for statement in tables.statements([exposure]):
        con.execute(statement)
    ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, exposure.relation)).fetchall()
    con.execute(publications.insert_sql(invocation, exposure.relation, str(snapshot)))
    return f"{exposure.relation}@{snapshot}"


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": ["ridge"], "group": "order", "split": "group"},
        {"candidates": [TREE]},
        {"candidates": ["ridge", TREE], "time": "the day", "split": "time"},
    ],
)
def test_all_columns_of_a_key_stand_in_every_table(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> None:
    exposure = visits(**settings)
    publication = publish(con, exposure)
    made = consume_and_complete(exposure)
    assert made is not None and (made.outcome, made.predicted_rows) == ("trained", STORES * DAYS)
    held = STORES * DAYS * len(exposure.spec.splits)
    if exposure.spec.split == "time":
        ((held,),) = con.execute("select count(*) from lake.ml.heldout_visits").fetchall()
    for table, rows in (("visits", STORES * DAYS), ("heldout_visits", held)):
        joined = con.execute(
            f'select count(*), count(distinct ("order", "the day")) from lake.ml.{table} '
            f"join lake.features.visits {JOIN}"
        ).fetchall()
        assert joined == [(rows, held if exposure.spec.split == "time" and table != "visits" else STORES * DAYS)], table
    true = f"select count(*) from lake.ml.heldout_visits join lake.features.visits {JOIN} where actual = y"
    assert con.execute(true).fetchall() == [(held,)]
    assert predictions.count_standing(con, exposure) == (publication, *[STORES * DAYS] * 3)
    newest = champions.newest_predicted(con, exposure)
    assert newest is not None
    first = predictions.standing(con, exposure, newest, 2)
    assert list(first.columns[:3]) == ["order", "the day", "y"]
    assert first[list(KEY)].to_numpy().tolist() == [["s0", "2026-01-01"], ["s0", "2026-01-02"]]
    again = replay(exposure, publication, say=silent)
    assert again.largest_difference == 0.0
    assert len(again.predictions[list(KEY)].drop_duplicates()) == STORES * DAYS


def test_live_errors_are_of_the_rows_with_the_same_key(con: duckdb.DuckDBPyConnection) -> None:
    exposure = visits()
    publish(con, exposure)
    consume_and_complete(exposure)
    publish(con, exposure, shift=100)
    made = consume_and_complete(exposure)
    assert made is not None
    ((rows, mae),) = con.execute("select row_count, mae from lake.ml.live_errors").fetchall()
    assert rows == STORES * DAYS
    assert mae == pytest.approx(100, abs=2)


def test_another_key_begins_anew(con: duckdb.DuckDBPyConnection) -> None:
    exposure = visits()
    publish(con, exposure)
    consumption.consume(exposure, say=silent)
    swapped = visits(key=("the day", "order"))
    publish(con, exposure, shift=1)
    said: list[str] = []
    made = consumption.consume(swapped, say=said.append)
    assert made is not None and made.outcome == "trained"
    assert any("made for the key order, the day, and the spec asks for the day, order" in line for line in said)


def test_a_key_that_repeats_names_its_columns_and_the_test_that_finds_it(con: duckdb.DuckDBPyConnection) -> None:
    exposure = visits()
    publish(con, exposure)
    con.execute("update lake.features.visits set \"the day\" = date '2026-01-01' where \"order\" = 's3'")
    con.execute(f"call lake.set_commit_message('dbt', 'twice', extra_info => '{exposure.relation}')")
    con.execute(
        "insert into lake.ops.publications select 'features.visits@9999', 'features.visits', "
        "(select max(snapshot_id) from lake.snapshots()), 'f', '1', 360, 'i', 'me', null, now()"
    )
    with pytest.raises(Exception, match="the key order, the day is missing or repeated in 29 rows") as error:
        consumption.consume(exposure, say=silent)
    assert "Give the table the dbt test `tract.unique_together`, and each column `not_null`" in str(error.value)


def test_one_column_is_written_as_a_text_or_as_a_list_of_one() -> None:
    assert Spec.model_validate({"key": ["id"], "target": "y", "candidates": ["ridge"]}).key == "id"


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (["id", "id"], "meta.ml.key is ['id', 'id']. It names a column twice: id, id."),
        ([], "meta.ml.key is []. It must be the name of a column, or a list of names."),
        ([1, "id"], "meta.ml.key is [1, 'id']. It must be the name of a column, or a list of names."),
        (["id", "gone"], "meta.ml.key is 'gone', which is no column. Columns of features.points: id, a, b, cell, y."),
        (["id", "y"], "key, target and group must be columns of their own, not id, y, y, cell; only a key of several"),
        (["id", "b"], "the key b of features.points is HUGEINT, which the lake does not keep as it is."),
    ],
)
def test_a_key_that_does_not_fit_is_said(key: list[object], sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        read_exposures(manifest({"key": key}, columns={**POINTS.columns, "b": "hugeint"}))
    assert sentence in str(error.value)
