"""A lake of the release before migrations opens: nothing of its history is lost, and its champion predicts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_project.housing import source as california_housing
from ml import consumption, lake, serving, vouching
from ml.exposures import Exposure
from ml.lake import artifacts
from ml.manifest import read_exposures
from ml.records import champions, completions, migrations
from tests.conftest import run_dbt
from tests.dbt.conftest import lake_of, publications_of
from tests.ml.rows import silent
from tests.old_lake import restore

pytestmark = pytest.mark.xdist_group("old lake")

CHAMPION, BEFORE = "47910bd3cd3c", "36ff36a723db"
LEDGERS = (
    "ops.publications",
    "ops.consumptions",
    "ml.model_versions",
    "ml.promotions",
    "ml.model_metrics",
    "ml.live_errors",
    "ml.drift",
    "ml.trials",
    "ml.feature_importance",
    "ml.partial_dependence",
    "ml.model_cards",
    "ml.predictions",
    "ml.heldout_predictions",
)


@dataclass(frozen=True)
class OldLake:
    """The lake, and its ledgers as they were."""

    home: Path
    ledgers: dict[str, list[tuple[Any, ...]]]


def rows(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    return con.execute(f"from lake.{table} order by all").fetchall()


@pytest.fixture(scope="module")
def old(servers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OldLake]:
    home = restore(servers, tmp_path_factory.mktemp("old") / "home")
    with lake_of(home) as con:
        ledgers = {table: rows(con, table) for table in LEDGERS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACT_HOME", str(home))
        yield OldLake(home, ledgers)


@pytest.fixture(scope="module")
def refused(old: OldLake) -> str:
    """What those who only read are told before the lake is brought up to date."""
    with lake.connect() as con, pytest.raises(migrations.LakeVersionError) as error:
        migrations.require(con)
    return str(error.value)


@pytest.fixture(scope="module")
def built(old: OldLake, refused: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What dbt said of the first build after it, of a tenth of the block groups: the old lake has 500 of them."""
    source = tmp_path_factory.mktemp("landed") / "tenth.parquet"
    california_housing.fetch().sample(frac=0.1, random_state=0).to_parquet(source, index=False)
    told = run_dbt(old.home, "build", HOUSING_SOURCE=str(source))
    assert told.returncode == 0, told.stdout
    return told.stdout


def test_who_only_reads_is_told_what_brings_it_up_to_date(refused: str) -> None:
    assert refused == (
        f"The lake is of an earlier release: {migrations.LATEST} migrations are due. `dbt build` applies them, and so "
        "does the next consumption; nothing is lost."
    )


def test_its_ledgers_are_renamed_and_nothing_of_its_history_is_lost(old: OldLake, built: str) -> None:
    with lake_of(old.home) as con:
        now = {table: rows(con, table) for table in LEDGERS}
        columns = con.execute("describe lake.ops.consumptions").fetchall()
        migrated = con.execute("select migration from lake.ops.migrations").fetchall()
    assert migrated == [(number,) for number in range(1, migrations.LATEST + 1)]
    assert "input_hash" in [column[0] for column in columns]
    assert len(now["ops.publications"]) == len(old.ledgers["ops.publications"]) + 1  # the build's own
    for table in LEDGERS:
        if table != "ml.model_versions":
            # columns that came later stand behind the old ones
            kept = {row[: len(before)] for before in old.ledgers[table][:1] for row in now[table]}
            assert set(old.ledgers[table]) <= kept | set(now[table]), table
            assert len(old.ledgers[table]) > 0 or table in ("ml.live_errors", "ml.trials"), table
    then, today = ({row[1]: row for row in ledger["ml.model_versions"]} for ledger in (old.ledgers, now))
    assert list(today) == list(then) == [BEFORE, CHAMPION]
    for version in (BEFORE, CHAMPION):
        spec = json.loads(today[version][9])
        said = json.loads(then[version][9])
        assert (spec.pop("coverage"), spec.pop("limitations")) == (said.pop("level"), said.pop("limits"))
        assert spec.pop("map_columns") == said.pop("map")
        assert spec == said
        assert today[version][:9] + today[version][10:] == (*then[version][:9], *then[version][10:], None)


@pytest.fixture(scope="module")
def signed(old: OldLake, built: str) -> list[str]:
    """The versions that a person vouched for, after they were refused."""
    with (
        lake_of(old.home) as con,
        pytest.raises(artifacts.ArtifactError, match=rf"^Version {CHAMPION} of housing_value is not signed, as "),
    ):
        serving.predict(con, "housing_value", con.execute("from lake.features.housing_features").df())
    return vouching.sign(exposure(old.home), by="Ann", say=silent)


def test_its_versions_are_loaded_once_a_person_has_signed_them(old: OldLake, signed: list[str]) -> None:
    assert signed == [BEFORE, CHAMPION]
    assert vouching.sign(exposure(old.home), by="Ann", say=silent) == []


def test_its_champion_reads_a_file_whose_modules_have_moved_and_gives_the_numbers_that_stand(
    old: OldLake, signed: list[str]
) -> None:
    with lake_of(old.home) as con:
        champion = champions.champion(con, "housing_value")
        assert champion is not None
        assert (champion.version_id, champion.recipe.estimator) == (CHAMPION, "ml.recipes.neighbours.gradient_boosting")
        learned_from = "lake.features.housing_features at (version => 51)"
        features = con.execute(f"from {learned_from} order by block_group_id").df()
        stood = con.execute(
            "select prediction, lower, upper from lake.ml.predictions where publication_id like '%@51' "
            "order by block_group_id"
        ).df()
        predicted = serving.predict(con, "housing_value", features)
    assert len(stood) == 500
    assert (predicted - stood).abs().max().max() <= 1e-12 * stood["prediction"].max()


def exposure(home: Path) -> Exposure:
    (only,) = read_exposures(json.loads((home / "target" / "manifest.json").read_text()))
    return only


def test_a_consumption_passes_and_the_old_champion_s_recipe_defends(old: OldLake, signed: list[str]) -> None:
    with lake_of(old.home) as con:
        assert completions.pending(con, exposure(old.home)) == []  # what it consumed was whole
    consumed = consumption.consume(exposure(old.home), say=silent)
    assert consumed is not None
    assert consumed.outcome in ("trained", "refreshed")
    assert "competes no more" not in consumed.reason
    with lake_of(old.home) as con:
        (candidates,) = con.execute(
            "select list(distinct candidate order by candidate) from lake.ml.model_metrics where version_id = ?",
            [consumed.version_id],
        ).fetchall()
    assert candidates[0] == ["mean", "neighbours", "ridge"]


def test_a_lake_of_a_later_release_is_left_alone(old: OldLake, built: str) -> None:
    sentence = (
        f"The lake is of a later release: it has been through 99 migrations, and this code knows {migrations.LATEST}. "
        "Nothing was written. Install the release that the others use (lake.ops.migrations says since when)."
    )
    with lake_of(old.home) as con:
        con.execute("insert into lake.ops.migrations values (99, 'of tomorrow', 'someone', now())")
        ((snapshot,),) = con.execute("select id from lake.current_snapshot()").fetchall()
    before = publications_of(old.home)
    told = run_dbt(old.home, "build")
    assert told.returncode != 0
    assert sentence in told.stdout
    assert "Traceback" not in told.stdout
    with pytest.raises(migrations.LakeVersionError) as error:
        consumption.consume(exposure(old.home), say=silent)
    assert str(error.value) == sentence
    assert publications_of(old.home) == before
    with lake_of(old.home) as con:
        assert con.execute("select id from lake.current_snapshot()").fetchall() == [(snapshot,)]
        con.execute("delete from lake.ops.migrations where migration = 99")
