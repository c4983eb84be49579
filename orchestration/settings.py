"""The files in which dbt's settings stand, read as dbt reads them: YAML, in whose values `env_var` may be asked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, TemplateError

from ml.errors import TractError


class ParseError(TractError):
    """dbt cannot parse the project; the message is dbt's own, or says which file is no YAML."""


def read(path: Path) -> Mapping[str, Any]:
    """What a file of settings says; nothing where there is none.

    Raises:
        ParseError: It is no YAML, or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParseError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, Mapping | None):
        raise ParseError(f"{path} holds {type(content).__name__}; a mapping is wanted.")
    return content or {}


def rendered(value: str) -> str:
    """A value with the environment variables that it asks for; as it stands where dbt alone can render it."""
    if "{" not in value:
        return value
    try:
        return Environment().from_string(value).render(env_var=_env_var)
    except TemplateError:
        return value


def _env_var(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise TemplateError(f"{name} is not set")
    return value
