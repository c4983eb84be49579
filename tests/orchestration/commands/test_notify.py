"""`tract notify` does what Dagster's sensor does, and says what came of it."""

from dataclasses import replace

import duckdb
import pytest
from click.testing import CliRunner

from ml.exposures import Exposure
from ml.records import notices
from ml.spec import NotifySpec
from orchestration.commands import cli
from tests.ml import recipients
from tests.ml.recipients import SECRET


def test_it_sends_what_is_noted_and_then_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tuple(NotifySpec(on=("refused",), to=to) for to in ("OPS", "NOT_SET"))
    notices.note(con, replace(exposure, spec=exposure.spec.model_copy(update={"notify": told})), "refused", "p@1", "…")
    with recipients.webhook() as ops:
        monkeypatch.setenv("OPS", ops.url)
        first = CliRunner().invoke(cli.tract, ["notify"])
        monkeypatch.setenv("NOT_SET", ops.url)  # who mends it need not wait
        second, third = (CliRunner().invoke(cli.tract, ["notify"]) for _ in range(2))
    assert ([one.exit_code for one in (first, second, third)], len(ops.requests)) == ([0, 0, 0], 2)
    assert sorted(first.output.splitlines()) == [
        "NOT_SET is told of points refused (p@1): not yet, the environment variable NOT_SET is not set where notices "
        "are sent. It is tried again.",
        "OPS is told of points refused (p@1): sent.",
    ]
    assert second.output == "NOT_SET is told of points refused (p@1): sent.\n"
    assert third.output == "Nothing is to be sent.\n"
    assert not any(secret in first.output for secret in SECRET.split("/"))
