"""What docs/reading.md and docs/explore.ipynb say, done as it stands there, on a lake that has learned."""

import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import polars as pl
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT, cloned_lake
from tests.dbt.conftest import Worked, lake_of

pytestmark = pytest.mark.xdist_group("dbt worked")

TEXT = (ROOT / "docs" / "reading.md").read_text()


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def entered(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACT_HOME", str(worked.home))
    return worked.home


@pytest.fixture
def read(entered: Path) -> dict[str, Any]:
    """What the blocks of Python leave, by name."""
    found: dict[str, Any] = {}
    for block in blocks("python"):
        names: dict[str, Any] = {}
        exec(compile(block, "reading.md", "exec"), names)
        found |= names
    return found


def numbers(home: Path, query: str) -> tuple[Any, ...]:
    with lake_of(home) as con:
        return con.execute(query).fetchall()[0]


def test_every_reader_in_python_reads_what_stands_in_the_lake(entered: Path, read: dict[str, Any]) -> None:
    assert len(blocks("python")) == 6
    count, value, predicted = numbers(
        entered, "select count(*), sum(median_house_value), sum(predicted_value) from lake.marts.housing_valuations"
    )
    for name in ("features", "before"):
        assert (len(read[name]), read[name]["median_house_value"].sum()) == (count, pytest.approx(value, rel=1e-12))
    (first,) = numbers(entered, "select min(snapshot_id) from lake.ml.model_versions")
    assert read["snapshot"] == first
    assert isinstance(read["valuations"], pl.DataFrame)
    assert read["valuations"]["predicted_value"].sum() == pytest.approx(predicted, rel=1e-12)
    exported = read["exported"]
    assert (exported.num_rows, exported["predicted_value"].to_numpy().sum()) == (
        count,
        pytest.approx(predicted, rel=1e-12),
    )
    assert len(read["landed"]) == count
    assert read["landed"]["MedHouseVal"].sum() * 100_000 == pytest.approx(value, rel=1e-9)
    assert read["price"].shape == (1, 3)
    assert read["price"].eval("0 <= lower < prediction < upper").all()


def test_the_duckdb_shell_reads_what_stands_in_the_lake(worked: Worked, tmp_path: Path) -> None:
    (tmp_path / ".lake").symlink_to(worked.home)  # as in the root of the repo
    (block,) = blocks("sql")
    told = subprocess.run(
        [str(Path(sys.executable).with_name("duckdb")), "-csv", "-noheader"],
        input=block,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    expected = numbers(worked.home, "select count(*), round(avg(predicted_value)) from lake.marts.housing_valuations")
    assert told.stderr == ""
    assert tuple(map(float, told.stdout.split(","))) == expected


def test_predictions_from_python_are_those_of_the_lake(entered: Path) -> None:
    from ml import lake, serving

    with lake.connect() as con:
        rows = con.sql("from lake.features.housing_features order by block_group_id").df()
        committed = con.sql(
            "select predicted_value, predicted_value_lower, predicted_value_upper from lake.marts.housing_valuations "
            "order by block_group_id"
        ).df()
        found = serving.predict(con, "housing_value", rows)
    np.testing.assert_allclose(found.to_numpy(), committed.to_numpy(), rtol=1e-9)


def test_the_page_of_the_api_learns_and_predicts(
    servers: Path, after_a_build: Path, parsed: Path, tmp_path: Path
) -> None:
    home = cloned_lake(servers, after_a_build, tmp_path / "home")
    (home / "dbt").mkdir()
    shutil.copy(parsed, home / "dbt")
    (block,) = blocks("python", (ROOT / "docs" / "api.md").read_text())
    told = subprocess.run(
        [sys.executable, "-c", f"{block}print(predicted.to_json())"],
        cwd=ROOT,
        env={**os.environ, "TRACT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    predicted = pd.read_json(StringIO(told.stdout.splitlines()[-1]))
    assert len(predicted) == 5
    assert ((predicted["lower"] < predicted["prediction"]) & (predicted["prediction"] < predicted["upper"])).all()
    with lake_of(home) as con:
        assert con.execute("select outcome from lake.ops.consumptions").fetchall() == [("trained",)]
        assert con.execute("select count(*) from lake.ops.completions").fetchall() == [(1,)]


def test_the_notebook_runs_and_draws_the_map(entered: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "explore.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    rmse = "held_out['error'].pow(2).mean() ** 0.5"
    last = f"import json\nprint(json.dumps([champion.version_id, len(learned_from), {rmse}]))"
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    *_, drawn, said = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(drawn.outputs[-1]["data"]["image/png"]) > 50_000
    version, count, found = json.loads(said.outputs[0]["text"])
    expected = numbers(
        entered,
        "select version_id, value from lake.ml.model_metrics join lake.ml.model_versions using (version_id, candidate) "
        "where split = 'random' and slice = 'all' and metric = 'rmse'",
    )
    assert (version, count, found) == (expected[0], 20640, pytest.approx(expected[1], rel=1e-9))
