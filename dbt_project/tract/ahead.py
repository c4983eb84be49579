"""What can be known of an invocation's models before the first of them is built, and would be said late otherwise."""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import duckdb

from ml import lake
from ml.environments import schema_prefix
from ml.errors import TractError

# Of the constraints that dbt has, those that DuckLake refuses, with the dbt tests that say the same.
TESTS = {
    "primary_key": "`unique` and `not_null`",
    "unique": "`unique`",
    "foreign_key": "`relationships`",
    "check": "`tract.between`, or a singular test",
}


def not_its_own(places: Iterable[Sequence[str]], environment: str) -> list[str]:
    """A sentence where a target other than production would build in schemas that are not its own.

    Args:
        places: Name and schema of each node that the lake gets.
        environment: The target; empty in production.
    """
    prefix = schema_prefix(environment)
    strays = [f"{name} in {schema}" for name, schema in places if not schema.startswith(prefix)]
    if not strays:
        return []
    others = " and others" if strays[3:] else ""
    return [
        f"The target {environment} would build {', '.join(strays[:3])}{others}, which is not its own: schemas begin "
        f"with {prefix} there. Let the project's macro generate_schema_name return "
        "tract.generate_schema_name(custom_schema_name, node); dbt looks it up in the project alone."
    ]


def refused_constraints(models: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each constraint that a table of the lake cannot have.

    Args:
        models: Of dbt's graph: name, original_file_path, constraints, columns.
    """
    return [
        f"Model {model['name']} ({model['original_file_path']}): its contract has the constraint {kind} on "
        f"{', '.join(columns)}, and DuckLake has not_null alone. Take it out, and say it as a dbt test: {test}. A "
        "build whose tests fail publishes nothing."
        for model in models
        for kind, columns in _constraints(model)
        if (test := TESTS.get(kind))
    ]


def _constraints(model: Mapping[str, Any]) -> list[tuple[str, Sequence[str]]]:
    """Kind and columns of each constraint, of the model and of its columns."""
    found = [(said, said.get("columns") or ["the table"]) for said in model["constraints"]]
    found += [(said, [name]) for name, column in model["columns"].items() for said in column.get("constraints") or ()]
    return [(str(getattr(said["type"], "value", said["type"])), columns) for said, columns in found]


def required(model: Mapping[str, Any]) -> list[str]:
    """The columns that a model's contract says are never NULL."""
    return [column for kind, columns in _constraints(model) if kind == "not_null" for column in columns]


def wrong(function: str) -> str | None:
    """What a function of the project finds wrong, in a sentence: of data to be landed, before they are.

    Args:
        function: Its dotted path. It takes a DuckDB connection with the lake's settings, and raises a `TractError`.
    """
    module, _, name = function.rpartition(".")
    try:
        check = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        return (
            f"meta.check: {function} cannot be imported: {lake.first_line(error)}. It must be "
            "package.module.function, of a package that is installed here or lies in the project."
        )
    try:
        with duckdb.connect(config=lake.config()) as con:
            lake.load_extensions(con, ("httpfs",))
            check(con)
    except TractError as error:
        return str(error)
    return None
