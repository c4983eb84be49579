"""Who follows which exposure is recorded once for each revision of it."""

from dataclasses import replace

import duckdb

from ml.exposures import Exposure
from ml.records import followed


def test_a_revision_is_recorded_once_and_the_newest_is_what_is_followed(
    con: duckdb.DuckDBPyConnection, exposure: Exposure
) -> None:
    changed = replace(exposure, spec=exposure.spec.model_copy(update={"coverage": 0.8}))
    assert changed.revision() != exposure.revision()
    assert [followed.follow(con, [one]) for one in (exposure, exposure, changed, changed)] == [
        ["points"],
        [],
        ["points"],
        [],
    ]
    assert con.execute(followed.NEWEST_SQL).fetchall() == [("points", changed.revision())]
    assert con.execute("select revision from lake.ops.followed order by followed_at").fetchall() == [
        (exposure.revision(),),
        (changed.revision(),),
    ]


def test_a_lake_of_an_earlier_release_is_left_to_the_next_build(
    con: duckdb.DuckDBPyConnection, exposure: Exposure
) -> None:
    con.execute("drop table lake.ops.followed")
    assert followed.follow(con, [exposure]) == []
