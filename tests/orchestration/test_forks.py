"""What is imported ahead of runs is libraries alone; that runs are forked is seen in tests/faults/test_snapshot.py."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestration import forks
from tests.conftest import ROOT
from tests.warehouse import until

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


WORK = """
import json, os, sys
import sklearn.ensemble
from joblib import delayed
from ml.learning.workers import MIN_PROCESS_ROWS, workers
from orchestration import forks

def work(number):
    imported = "sklearn.ensemble" in sys.modules, "ml.learning.candidates" in sys.modules
    return number, os.getpid(), os.getppid(), *imported

def die(number):
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    forks.serve_forks()
    import ml.learning.candidates
    told = list(workers(MIN_PROCESS_ROWS)(delayed(work)(number) for number in range(4)))
    try:
        list(workers(MIN_PROCESS_ROWS)(delayed(die)(number) for number in range(4)))
    except Exception as error:
        died = type(error).__name__
    again = len(list(workers(MIN_PROCESS_ROWS)(delayed(work)(number) for number in range(4))))
    print(json.dumps([os.getpid(), told, died, again]))
"""


@pytest.mark.slow
def test_workers_are_forked_from_what_the_run_had_imported_and_end_with_it(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(WORK)
    told = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=True)
    run, made, died, again = json.loads(told.stdout)
    assert [number for number, *_ in made] == [0, 1, 2, 3]
    server = {parent for *_, parent, _, _ in made}
    assert len(server) == 1 and run not in server
    # a run's modules are imported by who needs them, as they are then
    assert {imported for *_, imported, _ in made} == {True}
    assert not made[0][-1]
    assert (died, again) == ("TerminatedWorkerError", 4)  # and not one that waits for ever
    until(lambda: not psutil.pid_exists(*server), "the server of forks does not end")
