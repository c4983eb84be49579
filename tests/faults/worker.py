"""What is killed: a process that publishes or consumes. It is forked from one that has imported all of it."""

import os
from multiprocessing.connection import Connection

from ml import completion, consumption, lake
from ml.learning import competition
from ml.serving import scoring
from tests.ml.conftest import POINTS, publish_points

assert competition and scoring  # the imports that a consumption would wait for
ROWS = 200


def consume(home: str, told: Connection) -> None:
    """Consume what waits, and measure what follows its commit, as a run does; say each stage."""
    os.environ["TRACT_HOME"] = home
    consumption.consume(POINTS, say=told.send)
    completion.complete(POINTS, say=told.send)


def publish(home: str, told: Connection, seed: float) -> None:
    """Build and publish the table from a seed."""
    os.environ["TRACT_HOME"] = home
    with lake.connect() as con:
        told.send("publishes")
        publish_points(con, POINTS, seed, rows=ROWS)
