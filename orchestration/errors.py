"""Errors as Dagster shall show them."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ml.errors import TractError
from ml.lake import away, telling

# In a failure's metadata: what ended the step was no fault of the rows, nor of what learns from them.
AWAY = "tract/away"


@contextmanager
def told() -> Iterator[None]:
    """Fail a step with what ml says of it: its errors are sentences for a person, which the UI then shows first."""
    try:
        yield
    except Exception as error:
        if away.is_away(error):
            raise dg.Failure(_sentence(error), metadata={AWAY: True}) from error
        if isinstance(error, TractError):
            raise dg.Failure(str(error)) from error
        raise


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, TractError) else telling.sentence(error)
