"""Dagster's sensor tells people, killed while it does or not, and no secret gets into what Dagster keeps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml.records import migrations, notices, tables
from ml.spec import NotifySpec
from tests.faults.kept import kept
from tests.ml import recipients
from tests.ml.conftest import POINTS
from tests.ml.recipients import HANG, SECRET, Webhook
from tests.warehouse import Warehouse, running, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults of notices")]

Told = tuple[Warehouse, Webhook]


@pytest.fixture(scope="module")
def told(servers: Path, parsed: Path, dagster_target: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A Dagster that runs, whose lake has its tables, and a webhook that OPS names."""
    directory = tmp_path_factory.mktemp("notices")
    with recipients.webhook() as ops, running(servers, parsed, dagster_target, directory, OPS=ops.url) as warehouse:
        for statement in [*tables.option_statements(), *migrations.statements(set(), 0, [POINTS])]:
            warehouse.con.execute(statement)
        yield warehouse, ops


def note(warehouse: Warehouse, about: str) -> None:
    told = (NotifySpec(on=("refused",), to="OPS"),)
    exposure = replace(POINTS, spec=POINTS.spec.model_copy(update={"notify": told}))
    with warehouse.con.cursor() as con:
        notices.note(con, exposure, "refused", about, f"points: {about} was refused.")


def states(warehouse: Warehouse, about: str) -> list[str]:
    return [
        state
        for (state,) in warehouse.rows(
            "select state from lake.ops.deliveries inner join lake.ops.notices using (notice_id) where about = ? "
            "order by stated_at",
            about,
        )
    ]


def test_the_sensor_sends_what_was_committed(told: Told) -> None:
    warehouse, ops = told
    note(warehouse, "a")
    until(lambda: states(warehouse, "a") == ["begun", "sent"], "nobody is told")
    assert len(ops.requests) == 1


def test_dagster_killed_while_it_sends_tells_nobody_twice_and_goes_on_after_a_restart(told: Told) -> None:
    warehouse, ops = told
    before = len(ops.requests)
    ops.answers, ops.silence = [HANG], 8.0
    note(warehouse, "b")
    until(lambda: len(ops.requests) == before + 1, "nobody is told")
    assert states(warehouse, "b") == ["begun"]
    warehouse.kill()
    note(warehouse, "c")  # while nobody sends
    warehouse.start()
    until(lambda: states(warehouse, "c") == ["begun", "sent"], "nobody is told after the restart")
    assert states(warehouse, "b") == ["begun", "unclear"]
    assert len(ops.requests) == before + 2


def test_what_dagster_keeps_holds_no_secret(told: Told) -> None:
    warehouse, ops = told
    ops.answers = [404]
    note(warehouse, "d")
    until(lambda: states(warehouse, "d") == ["begun", "undeliverable"], "nobody tries")
    (state,) = (one for one in warehouse.instance.all_instigator_state() if one.name == "send_notices")
    sentence = "OPS is told of points refused (d): never, the webhook answered 404 Not Found."

    def ticks() -> str:
        return "\n".join(map(str, warehouse.instance.get_ticks(state.instigator_origin_id, state.selector_id)))

    until(lambda: sentence.removesuffix(".") in ticks(), "no tick says so")
    words = "\n".join([ticks(), *(text for _, text in kept(warehouse))])
    assert "send_notices" in words
    for secret in SECRET.split("/"):
        assert secret not in words, secret
