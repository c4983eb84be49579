"""One lake, and what a build of each kind comes to: versioned models, a selected exposure, threads, warnings, a retry.

docs/event.md has them as a table.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import run_dbt
from tests.dbt.conftest import (
    Home,
    Told,
    about_publishing,
    allotments,
    publications_of,
    replace_in,
    said,
    with_packages,
)

pytestmark = pytest.mark.xdist_group("dbt outcomes")

YES = "Published soil.bed_harvests@…; `tract status` says what comes of it."

# A test of severity `warn` always finds something; it is on both versions, as are the others.
HARVESTS = """
models:
  - name: harvests
    latest_version: 2
    config: {contract: {enforced: true}}
    columns:
      - {name: bed, data_type: varchar, data_tests: [unique, not_null]}
      - name: sun_hours
        data_type: double
        data_tests: [{tract.between: {name: shady, arguments: {high: 1}, config: {severity: warn}}}]
      - {name: compost_litres, data_type: double}
      - {name: "Boden, von Auge", data_type: varchar, quote: true}
      - {name: "In the shade?", data_type: boolean, quote: true}
      - {name: order, data_type: date, quote: true}
      - {name: courgettes_kg, data_type: double, data_tests: [not_null]}
    versions: [{v: 1}, {v: 2}]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project about allotments, made ready: two versions of its table, and a mart that fails where FAILS is set."""
    copy = allotments(tmp_path_factory.mktemp("outcomes"))
    models = copy / "models"
    shutil.copy(models / "harvests.sql", models / "harvests_v1.sql")
    replace_in(models / "harvests_v1.sql", "alias='bed_harvests'", "alias='bed_harvests_v1'")
    (models / "harvests.sql").rename(models / "harvests_v2.sql")
    (models / "harvests.yml").write_text(HARVESTS)
    (models / "tally.sql").write_text(
        "select sum(courgettes_kg) as kg {{ ', error(1)' if env_var('FAILS', '') }} from {{ ref('harvests') }}\n"
    )
    return copy


@pytest.fixture(scope="module")
def home(empty_lake: Home, project: Path) -> Path:
    return with_packages(empty_lake("outcomes"), project)


@pytest.fixture(scope="module")
def of_the_exposure(home: Path, project: Path) -> Told:
    return run_dbt(home, "build", "--threads", "8", "--select", "+exposure:harvests_courgettes_kg", project=project)


@pytest.fixture(scope="module")
def with_a_failing_mart(home: Path, project: Path, of_the_exposure: Told) -> Told:
    return run_dbt(home, "build", project=project, FAILS="yes")


@pytest.fixture(scope="module")
def retried(home: Path, project: Path, with_a_failing_mart: Told) -> Told:
    return run_dbt(home, "retry", project=project)


def test_selecting_what_an_exposure_is_built_from_publishes_its_version_of_the_model(
    home: Path, of_the_exposure: Told
) -> None:
    assert (of_the_exposure.returncode, about_publishing(of_the_exposure)) == (0, [YES])
    assert "bed_harvests_v1" not in of_the_exposure.stdout


def test_a_build_takes_one_thread_and_says_so(of_the_exposure: Told) -> None:
    assert "Tract adapter: One thread, not 8: DuckLake does not commit for several at once." in said(of_the_exposure)


def test_a_failed_mart_and_a_warning_keep_no_table_back(with_a_failing_mart: Told) -> None:
    assert (with_a_failing_mart.returncode, about_publishing(with_a_failing_mart)) == (1, [YES])
    (done,) = (line for line in said(with_a_failing_mart) if line.startswith("Done. "))
    assert re.fullmatch(r"Done\. PASS=\d+ WARN=2 ERROR=1 SKIP=0 NO-OP=1 TOTAL=\d+", done)


def test_a_retry_of_the_mart_builds_it_and_says_nothing_of_publishing(retried: Told) -> None:
    assert (retried.returncode, about_publishing(retried)) == (0, [])
    assert "tally" in retried.stdout


def test_where_warnings_are_errors_a_warning_keeps_the_table_back(home: Path, project: Path, retried: Told) -> None:
    before = publications_of(home)
    told = run_dbt(home, "build", "--warn-error", "--select", "+harvests.v2", project=project)
    assert told.returncode == 1
    assert about_publishing(told) == [
        "Not published: soil.bed_harvests, because its test shady failed: Got 533 results, configured to fail if != 0."
    ]
    assert publications_of(home) == before


def test_constraints_that_the_lake_does_not_have_are_said_before_anything_is_built(
    home: Path, project: Path, retried: Told, tmp_path: Path
) -> None:
    copy = tmp_path / "allotments"
    shutil.copytree(project, copy, symlinks=True)
    model = copy / "models" / "harvests.yml"
    replace_in(
        model,
        "    columns:\n",
        "    constraints:\n"
        "      - {type: primary_key, columns: [bed, sun_hours]}\n"
        "      - {type: not_null, columns: [bed]}\n"
        "      - {type: check, expression: sun_hours >= 0}\n"
        "    columns:\n",
    )
    foreign = "constraints: [{type: unique}, {type: foreign_key, to: ref('beds'), to_columns: [bed]}]"
    replace_in(model, "{name: bed, ", f"{{name: bed, {foreign}, ")
    told = run_dbt(home, "build", "--select", "harvests.v2", project=copy)
    assert (told.returncode, about_publishing(told)) == (2, [])
    assert [line for line in said(told) if line.startswith("Model ")] == [
        f"Model harvests (models/harvests_v2.sql): its contract has the constraint {kind}, and DuckLake has not_null "
        f"alone. Take it out, and say it as a dbt test: {test}. A build whose tests fail publishes nothing."
        for kind, test in (
            ("primary_key on bed, sun_hours", "`unique` and `not_null`"),
            ("check on the table", "`tract.between`, or a singular test"),
            ("unique on bed", "`unique`"),
            ("foreign_key on bed", "`relationships`"),
        )
    ]
    assert " START " not in told.stdout.replace("START hook", "")
