"""A target ends: what is its own goes, what is anybody else's stays."""

import json
from dataclasses import replace

import duckdb
import pytest

from ml import consumption, removal
from ml.exposures import Exposure
from ml.lake import state
from ml.records import champions, owned
from ml.removal import RemovalError
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def test_two_targets_learn_from_one_table_and_one_is_removed(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    ours = replace(exposure, name="pr_41.points")
    theirs = replace(exposure, name="pr_4.points")
    learned = {one.name: consumption.consume(one, say=silent) for one in (exposure, ours, theirs)}
    assert all(made is not None and made.outcome == "trained" for made in learned.values())
    con.execute("create schema lake.pr_41__features")
    con.execute("create table lake.pr_41__features.points as from lake.features.points")
    con.execute("create schema lake.pr_4__features")
    con.execute("create schema lake.pr_41__audit")  # production's, whose name begins alike
    state.keep(con, json.dumps({"nodes": {"model.a.b": {"schema": "pr_41__audit"}}}).encode())
    con.execute(
        "insert into lake.ops.publications by name select * replace ('pr_41__features.points@9' as publication_id, "
        "'pr_41__features.points' as relation) from lake.ops.publications"
    )
    removed = removal.remove("pr_41", by="someone", say=silent)
    assert (removed.schemas, removed.exposures) == (("pr_41__features",), ("pr_41.points",))
    assert removed.rows > 400
    assert champions.with_champions(con) == ["points", "pr_4.points"]
    assert owned.schemas(con, "pr_4") == ["pr_4__features"]
    assert owned.schemas(con, "pr_41") == ["pr_41__audit"]
    assert con.execute("select relation from lake.ops.publications").fetchall() == [("features.points",)]
    counted = con.execute("select exposure, count(*) from lake.ml.predictions group by all order by all").fetchall()
    assert counted == [("points", 400), ("pr_4.points", 400)]
    with pytest.raises(RemovalError, match=r"^The lake holds nothing of a target pr_41\.$"):
        removal.remove("pr_41", by="someone", say=silent)


def test_production_has_no_end() -> None:
    with pytest.raises(RemovalError, match=r"^Production cannot be removed\.$"):
        removal.remove("", by="someone", say=silent)
