"""What is imported ahead of runs is libraries alone; that runs are forked is seen in tests/faults/test_snapshot.py."""

import json
import subprocess
import sys

import pytest

from orchestration import forks
from tests.conftest import ROOT

LOOK = f"""
import importlib, json, sys
for module in {forks.AHEAD}:
    importlib.import_module(module)
print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))
"""


@pytest.mark.slow
def test_a_run_reads_tracts_modules_and_the_project_s_when_it_starts() -> None:
    told = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = set(json.loads(told.stdout))
    assert {"dagster", "dagster_dbt", "sklearn", "pandas", "duckdb"} <= packages
    assert packages.isdisjoint({"ml", "orchestration", "dbt_project"})


def test_another_process_than_the_code_server_is_left_as_it_is() -> None:
    before = set(sys.modules)
    forks.prepare()
    assert set(sys.modules) == before
