"""Which invocations publish, and what the others say instead. Each builds the features of one lake anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_dbt
from tests.dbt.conftest import (
    NOT_PUBLISHED,
    PUBLISHED,
    Told,
    Worked,
    about_publishing,
    environment,
    invocation_of,
    publications_of,
    replace_in,
)

pytestmark = pytest.mark.xdist_group("dbt worked")

UNKNOWN = " But Dagster does not follow {} as it is here yet: `tract status` says why."


def published(home: Path) -> int:
    """How many publications the home's last invocation made."""
    invocation = invocation_of(home)
    return [row["invocation_id"] for row in publications_of(home)].count(invocation)


@pytest.mark.parametrize("selected", ["housing_features", "+housing_features"])
def test_selecting_the_features_publishes_them(worked: Worked, selected: str) -> None:
    told = run_dbt(worked.home, "build", "--select", selected)
    assert (told.returncode, about_publishing(told)) == (0, [PUBLISHED])
    assert published(worked.home) == 1


def test_a_programmatic_build_publishes(worked: Worked) -> None:
    script = (
        "from dbt.cli.main import dbtRunner\n"
        "arguments = ['--no-use-colors', 'build', '--select', 'housing_features']\n"
        "raise SystemExit(not dbtRunner().invoke(arguments).success)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(worked.home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (told.returncode, about_publishing(told)) == (0, [PUBLISHED])


def test_selecting_something_else_says_nothing_of_publishing(worked: Worked) -> None:
    told = run_dbt(worked.home, "build", "--select", "stg_housing")
    assert (told.returncode, about_publishing(told)) == (0, [])


def test_dbt_run_does_not_publish(worked: Worked) -> None:
    told = run_dbt(worked.home, "run", "--select", "housing_features")
    assert told.returncode == 0, told.stdout
    assert about_publishing(told) == [
        NOT_PUBLISHED + "`dbt run` does not build and test the whole table; `dbt build` does."
    ]
    assert published(worked.home) == 0


def test_a_test_that_was_not_selected_is_named(worked: Worked) -> None:
    left_out = ["unique_housing_features_block_group_id", "spatial_blocks_are_enough"]
    told = run_dbt(worked.home, "build", "--select", "housing_features", "--exclude", *left_out)
    assert told.returncode == 0, told.stdout
    assert about_publishing(told) == [
        NOT_PUBLISHED
        + "2 of its 17 tests did not run: spatial_blocks_are_enough, unique_housing_features_block_group_id."
    ]
    assert published(worked.home) == 0


def test_an_empty_build_does_not_publish_and_leaves_the_exports_alone(worked: Worked) -> None:
    told = run_dbt(worked.home, "build", "--empty", "--select", "housing_features", "export_california_housing")
    assert about_publishing(told) == [NOT_PUBLISHED + "it was built with --empty, which leaves rows out."]
    assert "NO ROWS, NOT WRITTEN" in told.stdout
    assert published(worked.home) == 0


def test_a_broken_contract_is_said(worked: Worked, project: Path) -> None:
    model = project / "dbt_project/housing/models/features/housing_features.sql"
    replace_in(model, "        population,\n", "        cast(population as integer) as population,\n")
    told = run_dbt(worked.home, "build", "--select", "housing_features", project=project)
    assert told.returncode == 1
    assert about_publishing(told) == [
        NOT_PUBLISHED + "its model failed: This model has an enforced contract that failed."
    ]
    assert "| population  | INTEGER         | DOUBLE        | data type mismatch |" in told.stdout
    assert published(worked.home) == 0


def test_a_test_that_only_warns_does_not_block_and_a_spec_that_dagster_does_not_know_is_said(
    worked: Worked, project: Path
) -> None:
    exposures = project / "dbt_project/housing/models/exposures.yml"
    replace_in(
        exposures,
        "            - ridge\n",
        "            - ridge\n            - {name: trees, estimator: nowhere.Trees}\n",
    )
    warning = "{{ config(severity='warn') }}\nselect 1 as found from {{ ref('housing_features') }} limit 1\n"
    (project / "dbt_project/housing/tests/always_warns.sql").write_text(warning)
    told: Told = run_dbt(worked.home, "build", "--select", "housing_features", project=project)
    assert "WARN 1 always_warns" in told.stdout
    # nor does a candidate that is not to be found, of which the start warns
    before, first, _ = told.stdout.partition(" START sql ")
    doubt = "Exposure housing_value: candidate trees cannot compete, as nowhere.Trees is not to be found: there is no "
    assert first and before.count(doubt) == 1
    assert (told.returncode, about_publishing(told)) == (0, [PUBLISHED + UNKNOWN.format("housing_value")])


def test_a_second_exposure_with_another_target_changes_no_table(worked: Worked, project: Path) -> None:
    (project / "dbt_project/housing/models/more.yml").write_text(
        """
exposures:
  - name: people
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: [ref('housing_features')]
    config: {meta: {ml: {key: block_group_id, target: population, group: spatial_block, candidates: [ridge]}}}
"""
    )
    scaled = ("housing_scaling", "housing_scaled")
    told = run_dbt(worked.home, "build", "--select", "housing_features", *scaled, project=project)
    # housing_value no longer learns from what people predicts
    unknown = UNKNOWN.format("housing_value") + UNKNOWN.format("people")
    assert (told.returncode, about_publishing(told)) == (0, [PUBLISHED + unknown])


def test_a_wrong_exposure_ends_the_build_before_its_first_model(worked: Worked, project: Path) -> None:
    replace_in(project / "dbt_project/housing/models/exposures.yml", "split: random", "splits: random")
    everyone = "  tract:\n    notify: {on: [failed], to: 'https://hooks.example.com/s3cret'}\n"
    replace_in(project / "dbt_project.yml", "  tract:\n    # Values", f"{everyone}    # Values")
    told = run_dbt(worked.home, "build", project=project)
    assert told.returncode == 2
    sentence = (
        "Exposure housing_value (dbt_project/housing/models/exposures.yml): meta.ml.splits is not known. Allowed: key, "
    )
    assert sentence in told.stdout
    assert "the variable of dbt tract.notify.0.to must be the name of an environment variable" in told.stdout
    assert "s3cret" not in told.stdout
    assert " START " not in told.stdout.replace("START hook", "")
    assert "Traceback" not in told.stdout + told.stderr
