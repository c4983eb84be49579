"""What makes a lake one of this release: new, up to date, of an earlier release, of a later one."""

import duckdb
import pytest

from ml.exposures import Exposure
from ml.records import migrations, tables
from ml.records.migrations import FIRST, LATEST, LEDGER, LakeVersionError

OLD = {FIRST, "ops.consumptions", "ml.model_versions", "ml.heldout_predictions"}


def test_a_new_lake_is_made_as_it_is_today_in_one_transaction(exposure: Exposure) -> None:
    (made,) = migrations.statements(set(), 0, [exposure])
    today = ";\n".join(["begin transaction", *tables.statements([exposure])]) + ";\n"
    assert made.startswith(today)
    *recorded, commit = made.removeprefix(today).split(";\n")
    assert [step.split(" as migration")[0] for step in recorded] == [
        f"insert into lake.{LEDGER} by name select {number}" for number in range(1, LATEST + 1)
    ]
    assert commit == "commit"


def test_a_lake_that_is_up_to_date_gets_what_is_missing_and_no_step(exposure: Exposure) -> None:
    assert migrations.statements({*OLD, LEDGER}, LATEST, [exposure]) == tables.statements([exposure])


def test_an_older_lake_goes_through_the_steps_first_in_one_transaction(exposure: Exposure) -> None:
    steps, *made = migrations.statements(OLD, 0, [exposure])
    assert made == tables.statements([exposure])
    begin, ledger, first, *rest = steps.split(";\n")
    assert (begin, rest[-1]) == ("begin transaction", "commit")
    assert f"create table if not exists lake.{LEDGER} (" in ledger
    assert first == "alter table lake.ops.consumptions rename column judged_as to input_hash"
    assert 'alter table lake.ml."heldout_predictions" add column if not exists lower double' in rest
    assert rest[-2].startswith(f"insert into lake.{LEDGER} by name select {LATEST} as migration")


def test_a_lake_of_a_later_release_is_left_alone(exposure: Exposure) -> None:
    migrations.check({*OLD, LEDGER}, LATEST)
    with pytest.raises(
        LakeVersionError,
        match=rf"of a later release: it has been through {LATEST + 1} migrations, and this code knows {LATEST}\. "
        r"Nothing was written",
    ):
        migrations.statements({*OLD, LEDGER}, LATEST + 1, [exposure])


def test_a_new_lake_has_been_through_all_migrations(con: duckdb.DuckDBPyConnection) -> None:
    present, applied = migrations.state(con)
    assert present >= {FIRST, LEDGER, "ml.predictions", "ml.heldout_predictions"}
    assert applied == LATEST
    migrations.require(con)
