"""A consumption, and what is measured after its commit: as a run of Dagster makes both, one after the other."""

from ml import completion, consumption
from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.progress import Say
from tests.ml.rows import silent


def consume_and_complete(exposure: Exposure, say: Say = silent) -> Consumption | None:
    """What came of the exposure's newest publication; None if there is none."""
    made = consumption.consume(exposure, say=say)
    completion.complete(exposure, say=say)
    return made
