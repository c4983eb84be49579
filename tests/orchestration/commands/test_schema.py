"""What is written of the settings is what `ml.spec` takes: the page and the schema are as they would be made now."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from orchestration.commands import schema
from tests.conftest import ROOT

HOUSING = ROOT / "dbt_project" / "housing" / "models" / "exposures.yml"


def mistakes(file: dict[str, Any]) -> list[str]:
    found = jsonschema.Draft7Validator(schema.schema()).iter_errors(file)
    return sorted(f"{'.'.join(map(str, error.path))}: {error.message}" for error in found)


def with_ml(**settings: Any) -> dict[str, Any]:
    ml = {"key": "id", "target": "y", "candidates": ["ridge"], **settings}
    return {"exposures": [{"name": "points", "type": "ml", "config": {"meta": {"ml": ml}}}]}


def test_what_is_checked_in_is_made_from_the_settings() -> None:
    assert (schema.DOCS / "exposures.md").read_text() == schema.page()
    assert (schema.DOCS / "exposures.schema.json").read_text() == schema.text()


def test_every_setting_is_described() -> None:
    assert "| None |" not in schema.page()


@pytest.mark.parametrize("file", [HOUSING, *(ROOT / "tests" / "second_project").rglob("exposures*.yml")])
def test_exposures_of_projects_are_taken(file: Path) -> None:
    jsonschema.Draft7Validator.check_schema(json.loads(schema.text()))
    assert mistakes(yaml.safe_load(file.read_text())) == []


def test_a_jinja_expression_may_stand_for_any_value() -> None:
    assert mistakes(with_ml(folds="{{ var('folds') }}", candidates="{{ var('recipes') }}")) == []
    assert mistakes(with_ml(folds="five")) == [
        "exposures.0.config.meta.ml.folds: 'five' is not valid under any of the given schemas"
    ]


def test_an_unknown_a_missing_and_a_wrong_setting_are_seen() -> None:
    unknown = with_ml(targt="y")
    del unknown["exposures"][0]["config"]["meta"]["ml"]["target"]
    where = "exposures.0.config.meta.ml"
    assert mistakes(unknown) == [
        f"{where}: 'target' is a required property",
        f"{where}: Additional properties are not allowed ('targt' was unexpected)",
    ]
    assert mistakes(with_ml(split="space")) == [f"{where}.split: 'space' is not valid under any of the given schemas"]
