"""A lake on a stack of its own, for what is measured there, and publications made without dbt."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ml import lake
from ml.exposures import Exposure
from ml.records import migrations, publications, tables
from orchestration import stack


@contextmanager
def new(exposures: Sequence[Exposure]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Enter a new lake that has the tables of some exposures; all of it is gone in the end."""
    work = Path(tempfile.mkdtemp(prefix="tract-bench-"))
    os.environ["TRACT_HOME"] = str(work / "home")
    stack.up(work / "home")
    try:
        with lake.connect() as con:
            for statement in [*tables.option_statements(), *migrations.statements(set(), 0, exposures)]:
                con.execute(statement)
            con.execute("create schema lake.features")
            yield con
    finally:
        stack.down(work / "home")
        shutil.rmtree(work, ignore_errors=True)


def publish(
    con: duckdb.DuckDBPyConnection, statements: Sequence[str], invocation: str, relation: str = "features.points"
) -> str:
    """Make or change a table in one commit, as an invocation of dbt, and publish it; the publication."""
    for statement in ("begin", *statements):
        con.execute(statement)
    con.execute("call lake.set_commit_message('dbt', ?, extra_info => ?)", [invocation, relation])
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, relation)).fetchall()
    con.execute(publications.insert_sql(invocation, relation, str(snapshot)))
    return f"{relation}@{snapshot}"
