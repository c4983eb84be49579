"""The command `tract`: each verb tells what it does, and a mistake is a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.commands import cli


def tract(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "orchestration.commands", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", sorted(cli.tract.commands))
def test_each_verb_says_what_it_does(verb: str) -> None:
    command = cli.tract.commands[verb]
    assert command.help
    assert command.help.rstrip().endswith(".")
    with command.make_context(verb, [], resilient_parsing=True) as context:
        assert "Usage:" in command.get_help(context)


def test_the_verbs_are_those_of_the_documentation() -> None:
    assert set(cli.tract.commands) == {
        "backup", "card", "connect", "docs", "down", "init", "mlflow", "notify", "promote", "remove", "replay",
        "report", "restore", "retry", "roles", "rollback", "run", "schema", "search", "sign", "status", "ui", "up",
    }  # fmt: skip


def test_a_verb_that_is_not_known_and_an_option_that_is_missing_are_told() -> None:
    unknown = tract("learn")
    assert (unknown.returncode, "No such command 'learn'" in unknown.stderr) == (2, True)
    missing = tract("promote", "abc")
    assert (missing.returncode, "Missing option '--reason'" in missing.stderr) == (2, True)


def test_a_mistake_is_a_sentence_without_a_traceback(home: Path) -> None:
    told = tract("card", "no_such_model")
    assert told.returncode == 1
    assert "no_such_model is no exposure of the project" in told.stderr
    assert "Traceback" not in told.stderr
