"""One connection to the lake for the life of a process that asks again and again."""

import duckdb

from ml import lake


class Door:
    """Entering the lake takes 0.7 s, a sensor's query 5 ms: so a process of sensors enters once."""

    def __init__(self) -> None:
        self.con: duckdb.DuckDBPyConnection | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor on the connection, which is made when there is none.

        Raises:
            LakeUnavailableError: The lake is not up.
        """
        if self.con is None:
            self.con = lake.connect()
        return self.con.cursor()

    def close(self) -> None:
        """Forget a connection that failed: the next cursor enters anew."""
        if self.con is not None:
            self.con.close()
            self.con = None
