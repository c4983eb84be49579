"""How what dbt says becomes what Dagster takes."""

from dataclasses import replace

import pytest

from orchestration.assets.translator import owners
from tests.orchestration.assets.test_model import EXPOSURE


@pytest.mark.parametrize(
    ("name", "email", "expected"),
    [
        ("Ann", "ann@example.com", ["ann@example.com"]),
        ("Ann", "data-team", ["team:data-team"]),
        ("Consumer team", None, ["team:Consumer_team"]),
        ("", None, []),
    ],
)
def test_an_owner_is_an_address_or_a_team(name: str, email: str | None, expected: list[str]) -> None:
    assert owners(replace(EXPOSURE, owner=name, owner_email=email)) == expected
