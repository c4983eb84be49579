"""No secret gets into what a stack keeps or shows, when all goes well and when it does not."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ml import consumption, lake
from ml.errors import TractError
from ml.lake import locks, signing, telling
from orchestration.stack import postgres, s3, secrets
from tests.faults.kept import kept, modes
from tests.ml.conftest import POINTS
from tests.warehouse import Warehouse

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]


def known(home: Path, servers: Path) -> set[str]:
    """What must not be seen: passwords and keys of S3, Postgres and the consumer."""
    found = {signing.key(), str(locks.secret()["password"])}
    for said in lake.secrets().values():
        found |= {value for part in said.split(";") for name, _, value in [part.partition("=")] if name == "secret"}
    for file in (servers / "run").glob("*.json"):
        content = json.loads(file.read_text())
        found |= {value for name, value in content.items() if "password" in name or name == "secret"}
    return {secret for secret in found if secret}


def test_nothing_that_a_stack_keeps_or_shows_holds_a_secret(warehouse: Warehouse, servers: Path) -> None:
    """After a build, a run that succeeded, and a build and a run that failed."""
    broken = warehouse.landed / "broken.parquet"
    broken.write_text("no parquet")
    assert warehouse.start_build(broken).wait() != 0
    assert warehouse.consumption(warehouse.publish(seed=50, twice=True))["outcome"] == "failed"
    found = known(warehouse.home, servers)
    assert len(found) >= 4
    seen = 0
    for name, text in kept(warehouse):
        seen += 1
        assert not [secret for secret in found if secret in text], name
    assert seen > 100
    assert set(modes(servers, found).values()) | set(modes(warehouse.home, found).values()) == {0o600}


@pytest.fixture
def other(servers: Path, tmp_path: Path) -> Path:
    """A home whose secrets the servers do not take."""
    home = tmp_path / "other"
    home.mkdir()
    (home / "extensions").symlink_to(servers / "extensions")
    return home


@pytest.mark.parametrize("wrong", ["Postgres", "S3"])
def test_who_is_refused_is_told_without_the_secret(
    warehouse: Warehouse, servers: Path, other: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, catalog = s3.address(servers), replace(postgres.address(servers), database=str(locks.secret()["dbname"]))
    if wrong == "Postgres":
        catalog = replace(catalog, password="0f-the-wrong-house")
    else:
        store = replace(store, secret="0f-the-wrong-house")
    secrets.write(other / "secrets", other / "extensions", store, catalog)
    monkeypatch.setenv("TRACT_HOME", str(other))
    with pytest.raises((TractError, duckdb.Error)) as error:
        consumption.consume(POINTS)
    said = [str(error.value), telling.sentence(error.value), repr(error.value.__cause__), repr(error.value.__context__)]
    assert not [text for text in said if "0f-the-wrong-house" in text or store.secret in text]
