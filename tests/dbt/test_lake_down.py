"""Without the stack, each command ends with one sentence that names the command that starts it."""

import pytest

from tests.conftest import run_dbt
from tests.dbt.conftest import Home, Told, said


def sentence(told: Told) -> str:
    """The one sentence; nothing else is said of the error."""
    assert told.returncode == 2
    assert "Traceback" not in told.stdout + told.stderr
    lines = said(told)
    assert [line for line in lines[lines.index("Encountered an error:") + 1 :] if line][:-1] == ["Database Error"]
    return lines[-1]


@pytest.mark.parametrize("command", ["build", "test", "docs generate", "source freshness"])
def test_a_home_where_nothing_was_started(empty_home: Home, command: str) -> None:
    found = sentence(run_dbt(empty_home("down"), *command.split()))
    assert found.startswith("The lake is not up: DuckDB's extension httpfs is not in ")
    assert found.endswith(" Start it with `make up`.")


def test_s3_does_not_answer(unreachable: Home) -> None:
    assert sentence(run_dbt(unreachable("s3"), "build")) == (
        "The lake is not up: its S3 does not answer at 127.0.0.1:1 ([Errno 111] Connection refused). "
        "Start it with `make up`."
    )


def test_postgres_does_not_answer_a_command_that_takes_no_lock(unreachable: Home) -> None:
    found = sentence(run_dbt(unreachable("postgres"), "docs", "generate"))
    assert found == "The lake is not up: its Postgres does not answer (Connection refused). Start it with `make up`."
