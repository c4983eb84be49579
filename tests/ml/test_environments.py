"""Names of targets, and what they stand before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import environments
from ml.environments import EnvironmentNameError
from ml.manifest import read_exposures
from tests.ml.test_exposures import manifest


def test_production_s_names_are_dbt_s_own() -> None:
    for environment in (environments.of_target("lake", "lake"), environments.of_target("Any One", None)):
        assert environment == environments.PRODUCTION
        assert environments.lake_name(environment, "points") == "points"
        assert environments.schema_prefix(environment) == ""
    assert environments.split("points") == ("", "points")


def test_another_target_s_names_begin_with_its_own() -> None:
    (points,) = read_exposures({**manifest(), "environment": environments.of_target("pr_41", "lake")})
    assert (points.name, points.name_in_dbt, points.environment) == ("pr_41.points", "points", "pr_41")
    assert points.identifier == "pr_41__points"
    assert environments.schema_prefix("pr_41") == "pr_41__"
    (same,) = read_exposures(manifest())
    assert (same.name, same.name_in_dbt, same.environment, same.identifier) == ("points", "points", "", "points")
    assert points.digest() == same.digest()  # what is learned is the same


@pytest.mark.parametrize("target", ["", "PR_41", "pr-41", "pr__41", "pr_", "_pr", "41", "pr.41", "é"])
def test_a_target_that_is_no_plain_identifier_is_refused(target: str) -> None:
    with pytest.raises(EnvironmentNameError, match=r"^The target '.*' cannot stand before names .* such as pr_41\.$"):
        environments.of_target(target, "lake")


@given(st.from_regex(environments.NAMES, fullmatch=True), st.from_regex(environments.NAMES, fullmatch=True))
def test_no_target_s_schemas_are_taken_for_another_s(one: str, other: str) -> None:
    schema = f"{environments.schema_prefix(one)}features"
    assert schema.startswith(environments.schema_prefix(other)) == (one == other)
    assert environments.split(environments.lake_name(one, other)) == (one, other)
