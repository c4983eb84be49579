"""A run reads what was published, whatever becomes of the table meanwhile."""

import os
import signal

import psutil
import pytest

from tests.warehouse import FEATURES, Warehouse, pid_of, until

pytestmark = pytest.mark.xdist_group("faults")


def test_a_rebuild_in_the_middle_of_training_changes_nothing(warehouse: Warehouse) -> None:
    with warehouse.held():
        publication = warehouse.publish(seed=10)
        run = until(lambda: warehouse.waits(publication), "no run waits for the lock")
    pid = pid_of(warehouse.instance, run)
    assert pid is not None
    assert "multiprocessing.forkserver" in " ".join(psutil.Process(pid).cmdline())  # it did not import everything anew
    until(lambda: pid in warehouse.lock_pids(granted=True), "the run does not get the lock", every=0.01)
    os.kill(pid, signal.SIGSTOP)
    try:
        with warehouse.con.cursor() as cursor:
            # other rows, a column less, a column more, and others types
            cursor.execute(
                f"""
                create or replace table lake.{FEATURES} as
                select * exclude (rooms_per_person) replace (median_house_value / 2 as median_house_value), 1 as extra
                from lake.{FEATURES} limit 100
                """
            )
    finally:
        os.kill(pid, signal.SIGCONT)
    made = warehouse.consumption(publication)
    assert made["outcome"] == "refreshed"
    snapshot = int(publication.partition("@")[2])
    read = warehouse.one(
        f"""
        with published as (from lake.{FEATURES} at (version => {snapshot})),
        predicted as (from lake.ml.predictions where publication_id = $1)
        select
            (select count(*) from published),
            (select count(*) from predicted),
            (select count(*) from predicted semi join published using (block_group_id)),
            (
                select count(distinct block_group_id)
                from lake.ml.heldout_predictions as held join published using (block_group_id)
                where held.version_id = $2 and held.actual = published.median_house_value
            )
        """,
        publication,
        made["version"],
    )
    assert read == (300, 300, 300, 300)
    assert warehouse.count(FEATURES) == 100  # the table itself is the other one
    warehouse.settled(publication)
