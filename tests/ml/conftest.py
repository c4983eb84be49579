"""A small learned-from table in a lake of its own, published as a build would, without dbt."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import duckdb
import pytest

from ml import lake
from ml.exposures import Exposure
from ml.records import migrations, tables
from ml.spec import Spec
from tests.bench import lakes
from tests.conftest import cloned_lake, new_lake, once

Publish = Callable[..., str]


POINTS = Exposure(
    name="points",
    owner="Someone",
    owner_email=None,
    description="Learns y, which is 3 a - 2 b and noise, from features.points.",
    unique_id="model.tract.points",
    relation="features.points",
    columns={"id": "VARCHAR", "a": "DOUBLE", "b": "DOUBLE", "cell": "VARCHAR", "y": "DOUBLE"},
    spec=Spec(key="id", target="y", group="cell", candidates=("ridge",)),
)


@pytest.fixture
def exposure() -> Exposure:
    return POINTS


@pytest.fixture(scope="session")
def laid_out(servers: Path) -> Path:
    """The home of a lake with the tables that dbt's on-run-start makes, to be cloned."""

    def lay_out(place: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRACT_HOME", str(new_lake(servers, place)))
            with lake.connect() as con:
                for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [POINTS])]:
                    con.execute(statement)
                con.execute("create schema lake.features")

    return once("laid_out", lay_out)


@pytest.fixture
def con(
    servers: Path, laid_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake of its own with these tables, entered by `ml.lake` in this test and by the processes that it starts."""
    monkeypatch.setenv("TRACT_HOME", str(cloned_lake(servers, laid_out, tmp_path / "home")))
    with lake.connect() as con:
        yield con


@pytest.fixture
def publish(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> Publish:
    """Build features.points from a seed and publish it; the publication's id."""
    return partial(publish_points, con, exposure)


def publish_points(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    seed: float = 0.1,
    rows: int = 400,
    noise: float = 1.0,
    invocation: str = "",
    shift: float = 0.0,
) -> str:
    """See `publish`."""
    invocation = invocation or f"seed {seed}"
    made = f"""
        create or replace table lake.features.points as
        select
            'k' || i as id, a, b, 'c' || (i % 20) as cell,
            1000 + 3 * a - 2 * b + {noise} * (random() - 0.5) as y
        from (select i, random() * 10 + {shift} as a, random() * 5 as b from range({rows}) as t(i) order by i)
    """
    return lakes.publish(con, [f"select setseed({seed})", made], invocation, exposure.relation)
