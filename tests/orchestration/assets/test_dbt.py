"""A failed build's first line is what went wrong."""

from typing import Any

from orchestration.assets import dbt as dbt_models

WRAPPED = """The dbt CLI process with command

`dbt build`

failed with exit code `2`. Check the stdout.

Errors parsed from dbt logs:

Encountered an error:
Runtime Error
  \x1b[31mThe lake is not up: Postgres does not answer.\x1b[0m"""


def result(name: str, status: str, message: str | None = None) -> dict[str, Any]:
    return {"unique_id": f"test.tract.{name}.0a1b", "status": status, "message": message}


def test_failed_nodes_are_named_with_what_dbt_says() -> None:
    results = [
        result("unique_id", "pass"),
        result("between_population", "fail", "Got 3 results, configured to fail if != 0"),
        result("housing_features", "error", "Runtime Error in model\n  Binder Error: no column x"),
        result("after_it", "skipped"),
    ]
    assert dbt_models.failure(results, WRAPPED) == (
        "2 of 4 nodes failed. between_population: Got 3 results, configured to fail if != 0; "
        "housing_features: Runtime Error in model Binder Error: no column x"
    )


def test_of_many_three_are_named() -> None:
    results = [result(f"test_{number}", "fail", "x" * 1000) for number in range(5)]
    told = dbt_models.failure(results, WRAPPED)
    assert told.startswith("5 of 5 nodes failed. test_0: xxx")
    assert told.endswith("x…; and 2 more")
    assert len(told) < 1400


def test_before_any_node_it_is_what_dbt_printed() -> None:
    said = "Encountered an error: Runtime Error The lake is not up: Postgres does not answer."
    assert dbt_models.failure([], WRAPPED) == said
