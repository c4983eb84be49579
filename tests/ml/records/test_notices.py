"""What people are told is in the commit that it tells of, once for each who asked, and in words with figures."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import duckdb
import pytest

from ml import completion, consumption, promotion
from ml.exposures import Exposure
from ml.occasions import OCCASIONS, Occasion
from ml.records import notices
from ml.spec import NotifySpec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


@pytest.fixture
def exposure(exposure: Exposure) -> Exposure:
    """It tells all to OPS, and Ann of what is refused."""
    told = (NotifySpec(on=tuple(OCCASIONS), to="OPS"), NotifySpec(on=("refused",), to="ann@example.com"))
    return replace(exposure, spec=exposure.spec.model_copy(update={"notify": told}))


def noted(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return con.execute(
        "select occasion, about, recipient from lake.ops.notices order by noticed_at, occasion, recipient"
    ).fetchall()


def text(con: duckdb.DuckDBPyConnection, occasion: Occasion) -> str:
    (found,) = con.execute("select distinct text from lake.ops.notices where occasion = ?", [occasion]).fetchall()
    return str(found[0])


def commits(con: duckdb.DuckDBPyConnection, table: str) -> list[int]:
    """The snapshots in which rows of a table of `ops` were committed."""
    rows = con.execute(
        """
        select distinct files.begin_snapshot
        from __ducklake_metadata_lake.ducklake_data_file as files
        inner join __ducklake_metadata_lake.ducklake_table as tables using (table_id)
        where tables.table_name = ? order by 1
        """,
        [table],
    ).fetchall()
    return [row[0] for row in rows]


def test_of_a_target_other_than_production_nobody_is_told(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    assert consumption.consume(replace(exposure, name="pr_41.points"), say=silent) is not None
    assert noted(con) == []


def test_what_the_gate_decides_is_told_in_its_commit(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consumption.consume(exposure, say=silent)
    assert first is not None
    assert noted(con) == [("promoted", "promotion 1", "OPS")]
    assert text(con, "promoted") == (
        f"points: version {first.version_id} serves from now on, promoted by gate: {first.reason}. It is the "
        "first; `tract card points` saves what it is."
    )
    worse = publish(0.2, noise=500)
    second = consumption.consume(exposure, say=silent)
    assert second is not None and second.reason.startswith("not promoted, ")
    assert noted(con)[1:] == [("refused", worse, "OPS"), ("refused", worse, "ann@example.com")]
    assert text(con, "refused") == (
        f"points: version {second.version_id} of {worse} was refused: {second.reason.removeprefix('not promoted, ')}. "
        f"{first.version_id} serves on. `tract promote {second.version_id} --exposure points --reason …` makes it "
        "serve all the same."
    )
    assert "RMSE" in text(con, "refused")
    assert commits(con, "notices") == commits(con, "consumptions")


def test_who_asked_for_nothing_is_told_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    consume_and_complete(replace(exposure, spec=exposure.spec.model_copy(update={"notify": ()})))
    assert (noted(con), commits(con, "notices")) == ([], [])


def test_promises_not_kept_and_columns_that_moved_are_told_in_the_completion_s_commit(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    first = publish(0.1)
    made = consume_and_complete(exposure)
    assert made is not None
    worse = publish(0.2, noise=500)
    consume_and_complete(exposure)
    moved = publish(0.3, shift=20)
    consume_and_complete(exposure)
    told = [(occasion, about) for occasion, about, _ in noted(con) if occasion in ("drifted", "coverage")]
    assert told[:1] == [("coverage", worse)] and ("drifted", moved) in told and ("drifted", worse) not in told
    ((rows, held),) = con.execute(
        "select row_count, coverage from lake.ml.live_errors where publication_id = ?", [worse]
    ).fetchall()
    (said,) = con.execute(
        "select text from lake.ops.notices where about = ? and occasion = 'coverage'", [worse]
    ).fetchall()
    assert said[0].startswith(
        f"points: {worse} brought {rows:,} true values that {made.version_id} had not seen, and its intervals hold "
        f"{held:.1%} of them; 90.0% were asked for."
    )
    ((psi, ks),) = con.execute(
        "select max(psi), max(ks) from lake.ml.drift where publication_id = ?", [moved]
    ).fetchall()
    assert text(con, "drifted").startswith(
        f"points: 2 columns have moved far in {moved} since {first}, which the champion learned from. "
    )
    assert f" most: PSI {psi:.3f}, Kolmogorov-Smirnov {ks:.3f}; far is above 0.25 or 0.3." in text(con, "drifted")
    assert set(commits(con, "notices")) <= {*commits(con, "consumptions"), *commits(con, "completions")}
    assert len(set(commits(con, "notices")) & set(commits(con, "completions"))) == 2
    assert completion.complete(exposure, say=silent) == []


def test_what_was_given_up_is_told_once(con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish) -> None:
    publication = publish()
    for _ in range(2):
        consumption.give_up(exposure, publication, "3 tries failed, the last with: too cold")
    assert noted(con) == [("failed", publication, "OPS")]
    assert text(con, "failed") == (
        f"points: {publication} was given up: 3 tries failed, the last with: too cold. The predictions before it "
        "stand. Mend the cause, then `tract retry points`, or build again."
    )
    assert commits(con, "notices") == commits(con, "consumptions")


def test_a_person_s_promotion_is_told_with_the_person_and_the_reason(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    for seed in (0.1, 0.2):
        publish(seed)
        consumption.consume(exposure, say=silent)
    promotion.rollback(exposure, by="Ann", reason="the census was wrong", say=silent)
    assert [(occasion, about) for occasion, about, _ in noted(con)] == [
        ("promoted", f"promotion {number}") for number in (1, 2, 3)
    ]
    (said,) = con.execute("select text from lake.ops.notices where about = 'promotion 3'").fetchall()
    assert said[0].endswith(
        "promoted by Ann: the census was wrong. `tract rollback --exposure points --reason …` is the way back."
    )
    specs = con.execute("select spec from lake.ml.model_versions").fetchall()
    assert specs and not any("notify" in spec or "ann@example.com" in spec for (spec,) in specs)


KILLED = """
import os, signal
from dataclasses import replace
from ml import consumption
from ml.records import champions, notices
from ml.spec import NotifySpec
from tests.ml.conftest import POINTS
told = (NotifySpec(on=("promoted",), to="OPS"),)
note = notices.note
def killed(*said):
    note(*said)  # written, and nothing committed
    os.kill(os.getpid(), signal.SIGKILL)
notices.note = killed
consumption.consume(replace(POINTS, spec=POINTS.spec.model_copy(update={"notify": told})), say=lambda sentence: None)
"""


def test_a_process_that_is_killed_before_its_commit_has_told_nobody(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    killed = subprocess.run([sys.executable, "-c", KILLED], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (noted(con), commits(con, "consumptions")) == ([], [])
    consumption.consume(exposure, say=silent)
    assert noted(con) == [("promoted", "promotion 1", "OPS")]


def test_a_notice_is_the_same_in_one_lake_however_often_it_is_written(
    con: duckdb.DuckDBPyConnection, exposure: Exposure
) -> None:
    for about in ("a", "a", "b"):
        notices.note(con, exposure, "refused", about, "points: …")
    ids = con.execute("select notice_id from lake.ops.notices").fetchall()
    assert len(ids) == len(set(ids)) == 4
    assert all(len(one[0]) == 32 for one in ids)
    assert [notices.noted(con, exposure, "refused", about) for about in ("a", "b", "c")] == [True, True, False]
    also = (*exposure.spec.notify, NotifySpec(on=("refused",), to="BOB"))
    more = replace(exposure, spec=exposure.spec.model_copy(update={"notify": also}))
    assert not notices.noted(con, more, "refused", "a")  # who asks since is not told yet
    assert {one.state for one in notices.unsettled(con)} == {None}
