"""`make run` shows every exposure, whatever came of the others, and says at its end what failed."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from ml.exposures import Exposure
from orchestration.commands import run
from orchestration.commands.run import RunError
from tests.ml.conftest import POINTS


def test_an_exposure_that_fails_keeps_no_other_from_being_learned_and_shown() -> None:
    told, shown = StringIO(), []

    def learn(exposure: Exposure) -> str:
        if exposure.name == "first":
            raise RunError("no [candidate] is left")
        return "trained"

    def show(exposure: Exposure, outcome: str) -> None:
        if exposure.name == "second":
            raise RunError("no version passed the gate")
        shown.append((exposure.name, outcome))

    exposures = [replace(POINTS, name=name) for name in ("first", "second", "third")]
    failed = run.each(Console(file=told, width=160, markup=False), exposures, learn, show)
    assert shown == [("third", "trained")]
    assert failed == ["first: no [candidate] is left", "second: no version passed the gate"]
    assert told.getvalue() == (
        "   first failed: no [candidate] is left\n   second failed: no version passed the gate\n"
    )
