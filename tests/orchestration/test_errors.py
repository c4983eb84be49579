"""What a person mends is shown as its sentence; anything else keeps its traceback."""

import dagster as dg
import pytest

from ml.errors import TractError
from orchestration.errors import told


def test_an_error_of_ml_fails_the_step_with_its_sentence() -> None:
    mended = TractError("The lake is not up: start it.")
    with pytest.raises(dg.Failure) as failure, told():
        raise mended
    assert failure.value.description == "The lake is not up: start it."
    assert failure.value.__cause__ is mended


def test_any_other_error_stays_what_it_is() -> None:
    broken = KeyError("column")
    with pytest.raises(KeyError) as error, told():
        raise broken
    assert error.value is broken
