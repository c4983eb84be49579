"""What a person is shown of publications, champions, movement and live errors."""

import duckdb
import pytest

from ml.consumption import Consumption
from ml.records import overview
from tests.ml.conftest import Publish


def test_publications_are_followed_newest_first_and_the_champion_serves(
    con: duckdb.DuckDBPyConnection, consumed: Consumption, publish: Publish
) -> None:
    first, second = consumed.publication.publication_id, publish(0.2, rows=500)
    followed = overview.followed(con, 9)
    assert [(found.publication_id, found.row_count, found.exposure, found.outcome) for found in followed] == [
        (second, 500, "points", None),
        (first, 400, "points", "trained"),
    ]
    assert followed[1].reason == consumed.reason
    assert [found.publication_id for found in overview.followed(con, 1)] == [second]
    (serving,) = overview.serving(con)
    assert (serving.exposure, serving.version_id, serving.candidate) == ("points", consumed.version_id, "ridge")
    assert serving.split == "random"
    assert serving.value == pytest.approx(consumed.metrics["rmse"], rel=1e-12)
    assert serving.coverage == pytest.approx(0.9, abs=0.05)


def test_the_column_that_moved_most_and_the_newest_live_error_are_shown(con: duckdb.DuckDBPyConnection) -> None:
    for psis, day in (((0.9, 0.8), 1), ((0.05, 0.3), 2)):
        for name, psi in zip("ab", psis, strict=True):
            con.execute(
                "insert into lake.ml.drift values ('points', 'new', 'v', 'old', ?, ?, 0.1, 400, 400, null, null, ?)",
                [name, psi, f"2026-01-0{day} 00:00:00+00"],
            )
        con.execute(
            "insert into lake.ml.live_errors by name select 'points' as exposure, 'new' as publication_id, "
            "'v' as version_id, 'old' as predicted_publication_id, 400 as row_count, ? as rmse, 1.0 as mae, "
            "0.9 as coverage, ? as measured_at",
            [float(day), f"2026-01-0{day} 00:00:00+00"],
        )
    ((exposure, moved, above),) = overview.most_moved(con)
    assert (exposure, moved["column_name"], moved["psi"], above) == ("points", "b", 0.3, 1)
    ((exposure, error),) = overview.live_errors(con)
    assert (exposure, error["rmse"], error["row_count"]) == ("points", 2.0, 400)


def test_a_lake_has_tables_once_something_was_built(con: duckdb.DuckDBPyConnection) -> None:
    assert overview.has_tables(con)
    con.execute("drop table lake.ops.publications")
    assert not overview.has_tables(con)
