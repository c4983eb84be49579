"""One connection to the lake for the life of a process that asks again and again, and the sensors that only look."""

from collections.abc import Callable

import dagster as dg
import duckdb

from ml import lake


class Door:
    """Entering the lake takes 0.7 s, a sensor's query 5 ms: so a process of sensors enters once."""

    def __init__(self) -> None:
        self.con: duckdb.DuckDBPyConnection | None = None

    def tick(self, look: Callable[[duckdb.DuckDBPyConnection], dg.SensorResult]) -> dg.SensorResult:
        """What a sensor sees through a cursor of the connection, which is made when there is none.

        A connection that failed is forgotten: the next tick enters anew. A lake without tables is nothing to look at.

        Raises:
            LakeUnavailableError: The lake is not up.
        """
        try:
            if self.con is None:
                self.con = lake.connect()
            with self.con.cursor() as con:
                return look(con)
        except duckdb.CatalogException as error:
            if "ops.publications" not in str(error):
                raise
            return dg.SensorResult(skip_reason="Nothing was built in this lake yet: start with `dbt build`.")
        except duckdb.Error:
            if self.con is not None:
                self.con.close()
                self.con = None
            raise


def watching(
    name: str,
    description: str,
    seconds: int,
    look: Callable[[dg.SensorEvaluationContext, duckdb.DuckDBPyConnection], dg.SensorResult],
) -> dg.SensorDefinition:
    """A sensor that looks at the lake through a door of its own, so often, and starts no run."""
    door = Door()

    @dg.sensor(
        name=name,
        description=description,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        target=None,
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return door.tick(lambda con: look(context, con))

    return watch
