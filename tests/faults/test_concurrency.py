"""Builds, consumers, promotion, search, maintenance and readers at once: no torn read, no lost update, no deadlock."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, new_lake
from tests.faults import contender
from tests.warehouse import BUILD, NAME, PATIENCE, Build, Warehouse

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("concurrency"), pytest.mark.timeout(1200)]

SECONDS = 90
# Each builder selects something else: all, the features and a part of what is before them, the marts, a model beside.
SELECTIONS = {
    "features": BUILD,
    "all but exports": ("build", "--exclude", "exports", "--exclude-resource-type", "unit_test"),
    "scaled": ("build", "--select", "housing_scaling+", "--exclude-resource-type", "unit_test"),
    "marts": ("build", "--select", "marts", "model_performance", "--exclude-resource-type", "unit_test"),
}
CONTENDERS = ("consume", "consume", "consume", "consume", "promote", "search", "keep_small", "read", "read")


@pytest.fixture
def warehouse(servers: Path, parsed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """A lake without Dagster, on which two sources were built, and one publication was consumed."""
    home, landed = new_lake(servers, tmp_path / "home"), tmp_path / "landed"
    landed.mkdir()
    monkeypatch.setenv("TRACT_HOME", str(home))
    for builder in SELECTIONS:
        (home / builder).mkdir()
        (home / builder / "partial_parse.msgpack").write_bytes(parsed.read_bytes())
    made = Warehouse(home, landed)
    yield made
    made.con.close()


def run(home: Path, role: str, manifest: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.contender", role, str(SECONDS), str(manifest)],
        cwd=ROOT,
        env={**os.environ, "TRACT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_all_at_once(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [warehouse.land(seed) for seed in (1, 2)]
    manifest = warehouse.home / "features" / "manifest.json"
    seen = set()
    for source in sources:  # two versions, of which one can be promoted in the other's place
        assert warehouse.start_build(source, "features").wait() == 0
        rows, checksum = warehouse.one(contender.CHECKSUM)
        seen.add(f"{rows} {checksum}")
        exposure = contender.asked(manifest)
        contender.consume(exposure, lambda told: None)
    assert len(seen) == 2

    builds: list[Build] = []
    over = threading.Event()

    def build(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            builds.append(Build(warehouse, sources[number % 2], name, {}, SELECTIONS[name]))
            builds[-1].wait()

    builders = [threading.Thread(target=build, args=(name,)) for name in SELECTIONS]
    processes = [run(warehouse.home, role, manifest) for role in CONTENDERS]
    for thread in builders:
        thread.start()
    told = [process.communicate(timeout=PATIENCE) for process in processes]
    over.set()
    for thread in builders:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert [error for (_, error), process in zip(told, processes, strict=True) if process.returncode] == []
    assert [build.log.read_text() for build in builds if build.wait()] == []
    while contender.consume(exposure, lambda told: None):
        pass

    done: dict[str, list[str]] = {}
    times: dict[str, int] = {}
    for out, _ in told:
        found = json.loads(out)
        done[found["role"]] = done.get(found["role"], []) + found["done"]
        times[found["role"]] = times.get(found["role"], 0) + found["times"]
    # every read was of one build, all of its rows
    assert set(done["read"]) <= seen
    assert min(times["read"], len(done["promote"]), len(done["keep_small"]), len(done["search"])) > 0
    # no update is lost: each publication is consumed once, each promotion and search is kept
    published = [row[0] for row in warehouse.rows("select publication_id from lake.ops.publications")]
    consumed = warehouse.rows("select publication_id from lake.ops.consumptions where exposure = ?", NAME)
    assert sorted(row[0] for row in consumed) == sorted(published)
    assert len(set(done["consume"])) == len(done["consume"])
    assert warehouse.count("ml.promotions", "promoted_by = ?", contender.BY) >= len(done["promote"])
    numbers = [row[0] for row in warehouse.rows("select promotion from lake.ml.promotions where exposure = ?", NAME)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert warehouse.count("ml.trials", "trial = 0") == len(done["search"])
    with capsys.disabled():
        figures = {"builds": len(builds), "publications": len(published), **{k: len(v) for k, v in done.items()}}
        print("\n" + "\n".join(f"| {name} | {number} |" for name, number in figures.items()))  # noqa: T201
