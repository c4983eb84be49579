"""Pages that a person opens in a browser: the templates beside this module, and how they write numbers and moments."""

import json
import os
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import TYPE_CHECKING

from ml import lake, metrics
from ml.numbers import figure

if TYPE_CHECKING:
    from jinja2 import Template

STYLE = "style.css.jinja"  # of all pages


@cache
def source(name: str) -> str:
    """A template's text."""
    return files("ml.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def template(name: str) -> "Template":
    """A template, in which whatever is put is text and never markup."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
    environment.filters["figure"] = figure
    environment.filters["metric"] = metrics.name
    environment.filters["when"] = _when
    environment.filters["as_json"] = lambda value: json.dumps(value, sort_keys=True)
    return environment.get_template(name)


def pictures() -> ModuleType:
    """`ml.reports.pictures`, which takes a second to import."""
    # matplotlib keeps a list of fonts, by default in the user's home
    os.environ.setdefault("MPLCONFIGDIR", str(lake.home() / "matplotlib"))
    return import_module("ml.reports.pictures")


def class_pictures() -> ModuleType:
    """`ml.reports.class_pictures`, likewise."""
    pictures()
    return import_module("ml.reports.class_pictures")


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
