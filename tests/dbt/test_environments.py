"""Two of dbt's targets in one lake: a branch's build touches nothing of production's, and is judged by its gate."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console

from ml import consumption
from ml.manifest import read_exposures
from ml.records import overview
from orchestration.commands import targets
from tests.conftest import ROOT, cloned_lake, run_dbt
from tests.dbt.conftest import (
    PUBLISHED,
    Told,
    Worked,
    about_publishing,
    copied,
    exports,
    lake_of,
    publications_of,
    replace_in,
    said,
)

pytestmark = [pytest.mark.xdist_group("dbt worked"), pytest.mark.slow]

SILENT = (
    "Nothing is published from the target pr_41: it is not production, and its plugin in profiles.yml has no "
    "`config: {publish: true}`."
)
SEEDED = "          minimum: 0\n          group: spatial_block\n          split: random\n          seed: 7\n"
TABLES = "select schema_name, table_name from duckdb_tables() where database_name = 'lake' order by all"


@dataclass(frozen=True)
class Branch:
    """A branch of the project, and a lake that production has built and learned in."""

    home: Path
    project: Path

    def tract(self, *arguments: str, **settings: str) -> Told:
        """A command of `tract` in the branch."""
        return subprocess.run(
            [sys.executable, "-m", "orchestration.commands", *arguments],
            cwd=ROOT,
            env={**os.environ, "TRACT_HOME": str(self.home), "DBT_PROJECT_DIR": str(self.project), **settings},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def seen(self) -> dict[str, Any]:
        """What stands in production: its rows in `ml` and `ops`, how many its own tables have, marts, and exports."""
        found: dict[str, Any] = {}
        with lake_of(self.home) as con:
            for schema, name in rows(con, TABLES):
                table = f"lake.{schema}.{name}"
                columns = {column for column, *_ in rows(con, f"describe {table}")}
                if name == "publications":
                    found[name] = rows(con, f"from {table} where relation not like '%\\_\\_%' escape '\\' order by all")
                elif schema in ("ml", "ops") and "exposure" in columns:
                    found[name] = rows(
                        con, f"select count(*), bit_xor(hash(t)) from {table} t where exposure not like '%.%'"
                    )
                elif "__" not in schema:
                    found[table] = rows(con, f"select count(*), bit_xor(hash(t)) from {table} t")
            found["performance"] = rows(con, "from lake.marts.model_performance order by all")
            found["valued"] = rows(con, "from lake.marts.housing_valuations order by all limit 50")
        found["exports"] = exports(self.home)
        return found

    def champions(self) -> dict[str, str]:
        """The version that serves, by exposure."""
        with lake_of(self.home) as con:
            return dict(rows(con, "select exposure, version_id from lake.ml.champions"))


def rows(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return con.execute(query).fetchall()


@pytest.fixture(scope="module")
def branch(servers: Path, worked: Worked, tmp_path_factory: pytest.TempPathFactory) -> Branch:
    place = tmp_path_factory.mktemp("branch")
    made = Branch(cloned_lake(servers, worked.home, place / "home"), copied(place))
    # the same output under another name
    replace_in(made.project / "profiles.yml", "    lake:\n", "    lake: &lake\n")
    replace_in(made.project / "profiles.yml", "    # What `make lint`", "    pr_41: *lake\n    # What `make lint`")
    replace_in(
        made.project / "dbt_project" / "housing" / "models" / "features" / "housing_features.sql",
        "        house_age_years,",
        "        60 - house_age_years as house_age_years,",
    )
    return made


@pytest.fixture(scope="module")
def before(branch: Branch) -> dict[str, Any]:
    return branch.seen()


@pytest.fixture(scope="module")
def quiet(branch: Branch, before: dict[str, Any]) -> Told:
    """A plain build in the target."""
    return run_dbt(branch.home, "build", "--target", "pr_41", project=branch.project)


@pytest.fixture(scope="module")
def once(branch: Branch, quiet: Told) -> Told:
    return branch.tract("run", "--target", "pr_41", "--once")


def test_a_build_of_another_target_publishes_nothing_and_touches_nothing_of_production_s(
    branch: Branch, before: dict[str, Any], quiet: Told
) -> None:
    assert quiet.returncode == 0, quiet.stdout
    assert [line for line in said(quiet) if "ublished" in line] == [SILENT]
    assert branch.seen() == before
    assert {row["relation"] for row in publications_of(branch.home)} == {"features.housing_features"}
    with lake_of(branch.home) as con:
        assert {"pr_41__features", "pr_41__landing", "features"} <= {schema for schema, _ in rows(con, TABLES)}
        ages = "select sum(house_age_years) > 0, count(*) from lake.{}.housing_features"
        assert rows(con, ages.format("pr_41__features")) == rows(con, ages.format("features"))
        assert rows(
            con,
            "select count(*) from lake.pr_41__features.housing_features anti join "
            "lake.features.housing_features using (block_group_id, house_age_years)",
        ) != [(0,)]


def test_what_it_learns_once_is_its_own_and_production_s_gate_is_asked(
    branch: Branch, before: dict[str, Any], worked: Worked, once: Told
) -> None:
    assert once.returncode == 0, once.stdout + once.stderr
    (verdict,) = [line for line in once.stdout.splitlines() if line.startswith("  passed")]
    assert "passed  pr_41.housing_value: refreshed" in verdict
    assert "the champion's" in verdict
    assert verdict.endswith(f"; production's champion is {worked.consumed.champion_id} (ridge)")
    assert branch.seen() == before
    serving = branch.champions()
    assert serving == {
        "housing_value": worked.consumed.champion_id,
        "pr_41.housing_value": serving["pr_41.housing_value"],
    }
    assert serving["pr_41.housing_value"] != serving["housing_value"]
    with lake_of(branch.home) as con:
        ours = [("housing_value", serving["pr_41.housing_value"])]
        assert rows(con, "select distinct exposure, version_id from lake.pr_41__marts.model_performance") == ours
        assert rows(con, "select distinct version_id from lake.pr_41__marts.housing_valuations") == [ours[0][1:]]
        made = publications_of(branch.home)[-1]
        assert made["relation"] == "pr_41__features.housing_features"
        built = "select distinct commit_extra_info from ducklake_snapshots('lake') where commit_message = ?"
        names = {name for (name,) in con.execute(built, [made["invocation_id"]]).fetchall()}
        assert "pr_41__features.housing_features" in names
        assert not [name for name in names if "california_housing" in name]  # what the branch did not change
        assert {row.exposure for row in overview.followed(con, 9)} == {"housing_value"}
        assert {row.exposure for row in overview.followed(con, 9, "pr_41")} == {"pr_41.housing_value"}
        assert overview.environments_with_champions(con) == ["pr_41"]


def test_production_goes_on_beside_it(branch: Branch, once: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    (exposure,) = read_exposures(json.loads((branch.home / "target" / "manifest.json").read_text()))
    ours = branch.champions()["pr_41.housing_value"]
    monkeypatch.setenv("TRACT_HOME", str(branch.home))
    consumed = consumption.consume(replace(exposure, relation="features.housing_features"), say=lambda sentence: None)
    assert consumed is not None
    assert (consumed.exposure, consumed.outcome) == ("housing_value", "unchanged")
    assert branch.champions() == {"housing_value": consumed.champion_id, "pr_41.housing_value": ours}


def test_what_the_gate_refuses_ends_with_code_3(branch: Branch, once: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = branch.champions()
    features = branch.project / "dbt_project" / "housing" / "models" / "features" / "housing_features.sql"
    noise = "        cast(hash(block_group_id) % 1000 as double) as median_income_usd,"
    replace_in(features, "        median_income_usd,", noise)
    refused = branch.tract("run", "--target", "pr_41", "--once")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "  refused  pr_41.housing_value: refreshed" in refused.stdout
    assert refused.stderr.strip() == "The gate refused what pr_41.housing_value learned."
    assert branch.champions() == ours
    # asked again of the same publication, it says the same
    manifest = json.loads((branch.home / "targets" / "pr_41" / "target" / "manifest.json").read_text())
    (exposure,) = read_exposures({**manifest, "environment": "pr_41"})
    monkeypatch.setenv("TRACT_HOME", str(branch.home))
    again = targets.judge(exposure, publications_of(branch.home)[-1]["invocation_id"], Console(quiet=True))
    assert not again.passed
    assert again.said.startswith("refreshed")


def test_what_a_branch_did_not_change_is_read_where_production_has_it(branch: Branch) -> None:
    features = branch.project / "dbt_project" / "housing" / "models" / "features" / "housing_features.sql"
    features.write_text((ROOT / features.relative_to(branch.project)).read_text())
    same = branch.tract("run", "--target", "pr_42", "--once")  # the profile has no such target
    assert same.returncode == 0, same.stdout + same.stderr
    assert "passed  pr_42.housing_value: as in production, where" in same.stdout
    exposures = branch.project / "dbt_project" / "housing" / "models" / "exposures.yml"
    replace_in(exposures, "          minimum: 0\n          group: spatial_block\n          split: random\n", SEEDED)
    serving = branch.champions()
    with ThreadPoolExecutor() as pool:  # while production builds
        started = pool.submit(branch.tract, "run", "--target", "pr_42", "--once")
        production = run_dbt(branch.home, "build")
        other = started.result()
    assert production.returncode == 0, production.stdout
    assert about_publishing(production) == [PUBLISHED]
    assert other.returncode == 0, other.stdout + other.stderr
    assert "passed  pr_42.housing_value: refreshed" in other.stdout
    assert "from features.housing_features@" in other.stdout
    assert branch.champions() == {**serving, "pr_42.housing_value": branch.champions()["pr_42.housing_value"]}
    assert branch.champions()["pr_42.housing_value"] not in serving.values()
    with lake_of(branch.home) as con:
        assert not [schema for schema, _ in rows(con, TABLES) if schema.startswith("pr_42")]


def test_a_target_is_removed_and_nothing_else(branch: Branch) -> None:
    before, serving = branch.seen(), branch.champions()
    removed = branch.tract("remove", "--target", "pr_41", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert "pr_41__features, pr_41__landing, pr_41__marts, pr_41__staging" in removed.stdout
    assert branch.seen() == before
    del serving["pr_41.housing_value"]
    assert branch.champions() == serving
    with lake_of(branch.home) as con:
        assert not [schema for schema, _ in rows(con, TABLES) if schema.startswith("pr_41")]
        assert rows(con, "select count(*) from lake.ml.predictions where exposure like 'pr_41%'") == [(0,)]
        assert rows(con, "select count(*) from lake.ops.publications where relation like 'pr_41%'") == [(0,)]
    again = branch.tract("remove", "--target", "pr_41", "--yes")
    assert (again.returncode, again.stderr.strip()) == (1, "The lake holds nothing of a target pr_41.")
    never = branch.tract("remove", "--target", "lake", "--yes")
    assert never.returncode == 1
    assert "lake is production" in never.stderr
