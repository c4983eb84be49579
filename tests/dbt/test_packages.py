"""A model of a dbt package is learned from as the project's own; one table's trouble keeps no other's publication."""

from pathlib import Path

import pytest

from tests.conftest import ROOT, run_dbt
from tests.dbt.conftest import Home, about_publishing, allotments, replace_in

pytestmark = pytest.mark.xdist_group("dbt packages")

FILES = {
    "dbt_project.yml": "{name: nursery, config-version: 2, version: '1.0', model-paths: [models]}",
    "models/plots.sql": "select 'plot ' || i as plot, cast(i % 7 as double) as light, cast(i as double) as plants\n"
    "from range(60) as t(i) {{ \"where error('no light')\" if env_var('FAILS', '') }}\n",
    "models/plots.yml": """
models:
  - name: plots
    config: {contract: {enforced: true}, materialized: table}
    columns:
      - {name: plot, data_type: varchar, data_tests: [unique, not_null]}
      - {name: light, data_type: double}
      - {name: plants, data_type: double}
""",
}
EXPOSURE = """
exposures:
  - name: plants
    type: ml
    owner: {name: Someone, email: someone@example.com}
    depends_on: ["ref('nursery', 'plots')"]
    config: {meta: {ml: {key: plot, target: plants, candidates: [ridge], predictions: plants_predicted}}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project about allotments, made ready, with a package whose table another exposure learns from."""
    copy = allotments(tmp_path_factory.mktemp("packages"))
    for name, text in FILES.items():
        file = copy / "nursery" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    replace_in(copy / "packages.yml", "packages:\n", "packages:\n  - local: nursery\n")
    (copy / "models" / "plants.yml").write_text(EXPOSURE)
    (copy / "dbt_packages").mkdir()  # as `dbt deps` does, in no time
    for name, place in {"tract": ROOT / "dbt_project" / "tract", "nursery": copy / "nursery"}.items():
        (copy / "dbt_packages" / name).symlink_to(place)
    return copy


@pytest.fixture(scope="module")
def home(empty_lake: Home) -> Path:
    return empty_lake("packages")


def test_the_model_of_a_package_is_published_beside_the_project_s_own(home: Path, project: Path) -> None:
    told = run_dbt(home, "build", project=project)
    assert (told.returncode, sorted(about_publishing(told))) == (
        0,
        [
            f"Published {relation}@…; `tract status` says what comes of it."
            for relation in ("soil.bed_harvests", "soil.plots")
        ],
    )


def test_a_table_that_failed_keeps_no_other_back(home: Path, project: Path) -> None:
    told = run_dbt(home, "build", project=project, FAILS="yes")
    assert told.returncode == 1
    published, failed = sorted(about_publishing(told), reverse=True)
    assert published == "Published soil.bed_harvests@…; `tract status` says what comes of it."
    assert failed.startswith("Not published: soil.plots, because its model failed: ")
