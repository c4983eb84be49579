"""Imported once, by the process that dbt's commands are forked from: dbt has parsed a project there.

dbt makes the code that reads and writes each of its classes when it first meets one, 0.8 s of a build of 3.2 s.
"""

import tempfile
import threading
from pathlib import Path

import psycopg2  # noqa: F401
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner

FILES = {
    "dbt_project.yml": "{name: warm, config-version: 2, profile: warm, model-paths: [models]}",
    "profiles.yml": "warm: {target: memory, outputs: {memory: {type: duckdb, path: ':memory:'}}}",
    "models/one.sql": "select 1 as i",
    "models/one.yml": """
models:
  - name: one
    config: {contract: {enforced: true}}
    columns: [{name: i, data_type: integer, data_tests: [not_null, unique]}]
sources:
  - {name: landing, tables: [{name: rows, columns: [{name: i}]}]}
exposures:
  - {name: asked, type: ml, owner: {email: someone@example.com}, depends_on: [ref('one')]}
unit_tests:
  - {name: adds_up, model: one, given: [], expect: {rows: [{i: 1}]}}
""",
}


def warm() -> None:
    """Parse a project of one model twice: the second time reads what the first has written."""
    with tempfile.TemporaryDirectory() as place:
        for name, text in FILES.items():
            file = Path(place, name)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        places = [f"--{kind}={place}" for kind in ("project-dir", "profiles-dir", "target-path", "log-path")]
        # the static parser starts threads, for which a forked process would wait for ever
        flags = ["--quiet", "--no-send-anonymous-usage-stats", "--no-static-parser"]
        for _ in range(2):
            told = dbtRunner().invoke([*flags, "parse", *places])
            assert told.success, told.exception
    reset_adapters()
    assert threading.enumerate() == [threading.main_thread()]


warm()
