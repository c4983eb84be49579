"""The spec or the table changes while a model serves: what it cannot answer any more keeps nothing from going on."""

from dataclasses import replace

import duckdb
import pytest
from sklearn.linear_model import Ridge

from ml import consumption
from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.monitoring import checks
from ml.records import champions, versions
from ml.spec import CandidateSpec, FeaturesSpec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def consume(exposure: Exposure) -> Consumption:
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    return made


def begin_anew(exposure: Exposure) -> tuple[Consumption, list[str]]:
    """A consumption that trains as if there were no champion, and what it said."""
    said: list[str] = []
    made = consumption.consume(exposure, say=said.append)
    assert made is not None
    assert (made.outcome, made.champion_id) == ("trained", made.version_id)
    assert made.reason.startswith("first model, better than the mean predictor: ")
    return made, said


def test_another_target_begins_anew(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    publish(0.1)
    first = consume(exposure)
    asks_for_b = replace(exposure, spec=exposure.spec.model_copy(update={"target": "b"}))
    publish(0.2)
    made, said = begin_anew(asks_for_b)
    before = f"The champion {first.version_id} was made for the target y, and the spec asks for b: it competes no more."
    assert before in [sentence.rpartition("  ")[2] for sentence in said]
    assert con.execute(
        "select max(prediction) < 6 from lake.ml.predictions where version_id = ?", [made.version_id]
    ).fetchall() == [(True,)]


def test_another_split_begins_anew(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    without = replace(
        exposure,
        columns={name: kind for name, kind in exposure.columns.items() if name != "cell"},
        spec=exposure.spec.model_copy(update={"group": None}),
    )
    by_group = replace(exposure, spec=exposure.spec.model_copy(update={"split": "group"}))
    publish(0.1)
    consume(without)
    assert checks.better_than_mean(con, by_group)[0] is False
    publish(0.2)
    assert consume(by_group).reason.startswith("first model, better than the mean predictor: ")
    assert checks.better_than_mean(con, by_group)[0] is True


def test_a_champion_whose_column_is_gone_stays_and_predicts_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    # what is left says nothing of y
    con.execute("create or replace table lake.features.points as select id, hash(id) % 7 as n, cell, y "
                "from lake.features.points")  # fmt: skip
    con.execute(
        "insert into lake.ops.publications select 'features.points@9999', 'features.points', "
        "(select max(snapshot_id) from lake.snapshots()), 'f', '1', 400, 'i', 'me', null, now()"
    )
    poor = replace(exposure, columns={"id": "VARCHAR", "n": "BIGINT", "cell": "VARCHAR", "y": "DOUBLE"})
    made = consume(poor)
    assert (made.outcome, made.champion_id, made.predicted_rows) == ("trained", first.version_id, 0)
    assert made.reason.startswith("not promoted, no better than the mean predictor: ")
    assert made.reason.endswith(
        f"; nothing is predicted, as the champion {first.version_id} learned from a, b, "
        "which features.points@9999 has no more"
    )
    versions = con.execute("select count(*) from lake.ml.model_versions").fetchall()
    assert versions == [(2,)]  # whoever wants it after all can promote it


def test_a_champion_that_cannot_be_read_does_not_keep_its_follower_out(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    consume(exposure)
    champion = champions.champion(con, exposure.name)
    assert champion is not None
    con.execute(f"copy (select 'damaged'::blob) to '{champion.artifact.uri}' (format blob)")
    publish(0.2)
    said: list[str] = []
    made = consume_and_complete(exposure, said.append)
    assert made is not None
    assert (made.outcome, made.predicted_rows) == ("refreshed", 400)
    assert made.champion_id == made.version_id != champion.version_id
    assert any(f"drift is not measured: Artifact {champion.artifact.uri} has sha256 " in line for line in said)
    assert con.execute("select count(*) from lake.ml.drift").fetchall() == [(0,)]


def fleeting() -> Ridge:
    """A recipe that the next version of the code has no more."""
    return Ridge()


def test_a_champion_whose_recipe_is_gone_does_not_keep_others_out(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = CandidateSpec(name="fleeting", estimator=f"{__name__}.fleeting")
    publish(0.1)
    first = consume(replace(exposure, spec=exposure.spec.model_copy(update={"candidates": (recipe,)})))
    assert first.champion_id == first.version_id
    monkeypatch.delattr(f"{__name__}.fleeting")
    publish(0.2)
    _, said = begin_anew(exposure)
    assert any("The champion's recipe competes no more: candidate fleeting: " in line for line in said)


def test_columns_that_are_excluded_are_read_by_no_one(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    chosen = {"group": None, "features": FeaturesSpec(exclude=("a", "cell")), "slices": {"cell": "left(cell, 2)"}}
    only_b = replace(exposure, spec=exposure.spec.model_copy(update=chosen))
    publish(0.1)
    first = consume(only_b)
    assert first.version_id is not None
    version = versions.version(con, "points", first.version_id)
    assert version is not None
    assert version.features == ("b",)
    predicted = con.execute("select count(*), count(distinct round(prediction, 6)) from lake.ml.predictions").fetchall()
    assert predicted == [(400, 400)]
    publish(0.2)
    made = consume(replace(only_b, spec=only_b.spec.model_copy(update={"features": FeaturesSpec(exclude=("cell",))})))
    assert (made.outcome, made.champion_id) == ("refreshed", made.version_id)
    assert made.version_id is not None
    version = versions.version(con, "points", made.version_id)
    assert version is not None
    assert version.features == ("a", "b")
