"""The machine knows nothing of the example: another project's words would stand there as well, or none."""

import re

import pytest

from tests.conftest import ROOT

# "warehouse", "thousand" and the metric "median_absolute_error" are not of the example.
HOUSES = re.compile(
    r"(?<!ware)(?<!t)hous|block_group|median_(?!absolute_error)|california|census|1990", flags=re.IGNORECASE
)
TEXT = (".py", ".sql", ".yml", ".yaml", ".md", ".jinja", ".toml", ".cfg", ".json")


@pytest.mark.parametrize("room", ["ml", "orchestration", "dbt_project/tract"])
def test_no_house_is_in_the_machine(room: str) -> None:
    files = [path for path in (ROOT / room).rglob("*") if path.suffix in TEXT]
    assert len(files) > 10
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if HOUSES.search(line)
    ]
    named = [str(path.relative_to(ROOT)) for path in files if HOUSES.search(path.name)]
    assert [*named, *found] == []


def test_what_a_house_would_look_like() -> None:
    for line in (
        "ref('housing_features')",
        "House",
        "a Census",
        "block_group_id",
        "median_income_usd",
        "in 1990 dollars",
    ):
        assert HOUSES.search(line), line
    for line in ("the warehouse's sums", "a thousand rows", "median_absolute_error", "MEDIAN_ABSOLUTE_ERROR"):
        assert not HOUSES.search(line), line
