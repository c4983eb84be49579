"""Errors as Dagster shall show them."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ml.errors import TractError


@contextmanager
def told() -> Iterator[None]:
    """Fail a step with what ml says of it: its errors are sentences for a person, which the UI then shows first."""
    try:
        yield
    except TractError as error:
        raise dg.Failure(str(error)) from error
