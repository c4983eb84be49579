"""What comes of publications, on a real lake: every outcome, and that all of it is one commit."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ml import consumption
from ml.consumption import Consumption
from ml.errors import MemoryRanOutError
from ml.exposures import Exposure
from ml.lake import locks
from ml.records import champions, versions
from ml.reports import facts
from ml.reports.card import explain, to_html
from ml.spec import CandidateSpec
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def consume(exposure: Exposure) -> Consumption:
    made = consumption.consume(exposure, say=lambda sentence: None)
    assert made is not None
    return made


def outcomes(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return con.execute(
        "select publication_id, outcome from lake.ops.consumptions order by consumed_at, publication_id"
    ).fetchall()


def count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    row = con.execute(f"select count(*) from lake.{table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_first_publication_trains_promotes_and_predicts_every_row(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    made = consume(exposure)
    assert (made.outcome, made.publication.publication_id, made.predicted_rows) == ("trained", publication, 400)
    assert made.metrics["rmse"] == pytest.approx(np.sqrt(1 / 12), rel=0.2)  # the noise: uniform of width 1
    assert made.baseline["rmse"] == pytest.approx(np.sqrt(9 * 100 / 12 + 4 * 25 / 12 + 1 / 12), rel=0.1)
    champion = champions.champion(con, "points")
    assert champion is not None
    assert champion.version_id == made.version_id
    coefficients = versions.load(con, "points", champion)
    slopes = coefficients["ridge"].coef_ / coefficients["standardscaler"].scale_
    assert slopes == pytest.approx([3, -2], rel=0.02)
    off = con.execute(
        """
        select max(abs(prediction - y)), count(*), count(distinct id), min(upper - lower), max(upper - lower)
        from lake.ml.predictions join lake.features.points using (id)
        """
    ).fetchone()
    assert off is not None
    assert off[0] < 1
    assert off[1:3] == (400, 400)
    assert 0.6 < off[3] < 0.9 < off[4] < 1.2  # nine tenths of a uniform noise of width 1, a little other in each row


def test_everything_of_a_consumption_is_one_snapshot_that_says_who_and_what(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    before = con.execute("select max(snapshot_id) from lake.snapshots()").fetchone()
    consume(exposure)
    assert before is not None
    commits = con.execute(
        "select author, commit_message from lake.snapshots() where snapshot_id > ?", [before[0]]
    ).fetchall()
    assert commits == [("ml", f"points {publication} trained")]
    assert [count(con, t) for t in ("ml.model_versions", "ml.promotions", "ops.consumptions")] == [1, 1, 1]
    assert count(con, "ml.heldout_predictions") == 400  # the split that the gate judges by
    assert count(con, "ml.model_metrics") == 15  # nine of ridge and six of the mean


def test_equal_rows_are_recorded_as_unchanged_and_add_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    first = publish(invocation="one")
    trained = consume(exposure)
    second = publish(invocation="two")
    assert second != first
    again = consume(exposure)
    assert (again.outcome, again.version_id, again.predicted_rows) == ("unchanged", trained.version_id, 0)
    assert outcomes(con) == [(first, "trained"), (second, "unchanged")]
    assert [count(con, t) for t in ("ml.model_versions", "ml.promotions", "ml.predictions")] == [1, 1, 400]
    assert consumption.consume(exposure, say=lambda sentence: None) is None


def test_new_rows_are_refreshed_and_scored_by_the_new_champion(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    second = publish(0.2, rows=500)
    refreshed = consume(exposure)
    assert (refreshed.outcome, refreshed.champion_id) == ("refreshed", refreshed.version_id)
    assert refreshed.version_id != first.version_id
    assert con.execute(
        "select version_id, count(*) from lake.ml.predictions where publication_id = ? group by all", [second]
    ).fetchall() == [(refreshed.version_id, 500)]


def test_a_refresh_that_is_much_worse_is_kept_out_and_the_champion_scores_the_new_rows(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    worse = publish(0.2, noise=3.0)
    kept_out = consume(exposure)
    assert kept_out.outcome == "refreshed"
    assert kept_out.reason.startswith("not promoted, refresh: held-out RMSE")
    assert kept_out.champion_id == first.version_id != kept_out.version_id
    assert con.execute(
        "select distinct version_id from lake.ml.predictions where publication_id = ?", [worse]
    ).fetchall() == [(first.version_id,)]
    assert count(con, "ml.promotions") == 1
    assert count(con, "ml.model_versions") == 2


def test_rows_that_come_back_are_not_judged_again_but_scored_by_today_s_champion(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1, invocation="a")
    first = consume(exposure)
    publish(0.2, invocation="b")
    second = consume(exposure)
    back = publish(0.1, invocation="a again")
    third = consume(exposure)
    assert (third.outcome, third.version_id) == ("unchanged", first.version_id)
    assert third.champion_id == second.version_id
    assert con.execute(
        "select version_id, count(*) from lake.ml.predictions where publication_id = ? group by all", [back]
    ).fetchall() == [(second.version_id, 400)]


def test_rows_that_superseded_others_at_first_are_known_when_they_come_back(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    """DuckLake's bounds of a column know the first commit, whichever of its rows have NULL there."""
    for seed in (0.1, 0.2):
        publish(seed, invocation=f"first {seed}")
    first = consume(exposure)
    assert first.superseded
    publish(0.3, invocation="second")
    consume(exposure)
    by_version = "select outcome from lake.ops.consumptions where version_id = ?"
    assert con.execute(by_version, [first.version_id]).fetchall() == [("trained",)]
    publish(0.2, invocation="back")
    again = consume(exposure)
    assert (again.outcome, again.version_id) == ("unchanged", first.version_id)


def test_a_first_commit_that_forgot_its_bounds_is_known_when_its_rows_come_back(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    """As of a lake in which the superseded row was written first."""
    publish(0.1, invocation="first")
    first = consume(exposure)
    publish(0.2, invocation="second")
    second = consume(exposure)
    bounds = "update __ducklake_metadata_lake.ducklake_table_column_stats set min_value = $1, max_value = $1 where "
    of_hash = """
        (table_id, column_id) in (
            select table_id, column_id
            from __ducklake_metadata_lake.ducklake_column
            inner join __ducklake_metadata_lake.ducklake_table using (table_id)
            where table_name = 'consumptions' and column_name = 'input_hash'
        )
    """
    ((newer,),) = con.execute(
        "select input_hash from lake.ops.consumptions where version_id = ?", [second.version_id]
    ).fetchall()
    con.execute(bounds + of_hash, [newer])
    publish(0.1, invocation="back")
    again = consume(exposure)
    assert (again.outcome, again.version_id) == ("unchanged", first.version_id)


def test_only_the_newest_of_several_is_learned_from(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    ids = [publish(seed) for seed in (0.1, 0.2, 0.3)]
    made = consume(exposure)
    assert made.publication.publication_id == ids[2]
    assert made.superseded == (ids[0], ids[1])
    assert sorted(outcomes(con)) == sorted(zip(ids, ["superseded", "superseded", "trained"], strict=True))


def test_a_first_model_no_better_than_the_mean_serves_nobody(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(noise=100000.0)
    made = consume(exposure)
    assert made.champion_id is None
    assert made.reason.startswith("not promoted, no better than the mean predictor")
    assert count(con, "ml.predictions") == 0
    assert count(con, "ml.model_versions") == 1


def test_the_published_snapshot_is_read_however_the_table_changed_since(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    con.execute("drop table lake.features.points")
    con.execute("create table lake.features.points as select 1 as other")
    made = consume(exposure)
    assert made.predicted_rows == 400


def test_a_value_that_is_no_number_is_an_error_that_names_the_column_and_nothing_is_written(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    con.execute("create table lake.features.points as select 'k' as id, 1e0 as a, 2.0 as b, 'c' as cell, 3.0 as y")
    con.execute("insert into lake.features.points select 'k' || i, 'nan', i, 'c' || i, i from range(10) t(i)")
    con.execute(
        "insert into lake.ops.publications select 'features.points@x', 'features.points', max(snapshot_id), 'f', "
        "'1', 11, 'i', 'me', null, now() from lake.snapshots()"
    )
    with pytest.raises(Exception, match=r"column 'a' has 10 NaN values: only finite numbers are allowed; fill them"):
        consume(exposure)
    assert [count(con, t) for t in ("ops.consumptions", "ml.model_versions", "ml.predictions")] == [0, 0, 0]


def test_a_champion_that_fails_on_new_rows_is_followed_by_who_does_not(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    moody = CandidateSpec(name="moody", estimator="tests.ml.learning.unruly.Moody")
    gone = CandidateSpec(name="gone", estimator="nowhere.Gone")

    def asking(*candidates: CandidateSpec) -> Exposure:
        return replace(exposure, spec=exposure.spec.model_copy(update={"candidates": candidates}))

    publish()
    first = consume(asking(gone, moody))
    champion = champions.champion(con, "points")
    assert champion is not None and (champion.candidate, champion.version_id) == ("moody", first.version_id)
    away = "candidate gone: estimator nowhere.Gone cannot be imported: No module named 'nowhere'"
    assert first.reason.startswith("first model, better than the mean predictor: held-out RMSE ")
    assert f"; {away}. Write it as package.module.Name" in first.reason
    found = facts.read(con, exposure, champion.version_id)
    card = to_html(found, []).replace("&#39;", "'")
    assert f"<dt>Did not compete</dt><dd>gone: {away}." in card
    assert "<dt>To know</dt>" not in card
    found.version["parameters"]["notes"] = ["y has few values", "b is constant"]
    assert "<dt>To know</dt><dd>y has few values</dd>\n<dt></dt><dd>b is constant</dd>" in to_html(found, [])

    con.execute("update lake.features.points set a = a + 200")
    con.execute(
        "insert into lake.ops.publications select 'features.points@x', 'features.points', max(snapshot_id), 'f', "
        "'1', 400, 'i', 'me', null, now() from lake.snapshots()"
    )
    said: list[str] = []
    second = consume_and_complete(asking(moody, CandidateSpec(name="ridge")), say=said.append)
    assert second is not None
    assert (second.outcome, second.champion_id) == ("trained", second.version_id)
    assert second.reason.startswith("the champion's recipe failed, and another follows: held-out RMSE ")
    assert second.reason.endswith(" rows") and "; candidate moody: it predicts NaN, infinity or beyond" in second.reason
    assert any(
        one.startswith("drift is not measured: it predicts NaN, infinity or beyond 1e+150 in 400") for one in said
    )
    assert con.execute(
        "select version_id, count(*) from lake.ml.predictions where publication_id = 'features.points@x' group by 1"
    ).fetchall() == [(second.version_id, 400)]


def test_as_many_rows_as_folds_are_learned_judged_predicted_and_explained(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(rows=5, noise=0.0)
    made = consume_and_complete(exposure)
    assert made is not None
    assert (made.outcome, made.predicted_rows, made.champion_id) == ("trained", 5, made.version_id)
    folds = con.execute("select split, list(fold order by fold) from lake.ml.heldout_predictions group by 1 order by 1")
    assert folds.fetchall() == [("group", [0, 1, 2, 3, 4]), ("random", [0, 1, 2, 3, 4])]
    ((off,),) = con.execute(
        "select max(abs(prediction - y)) from lake.ml.predictions join lake.features.points using (id)"
    ).fetchall()
    assert off < 0.1
    (card,) = explain(exposure, say=lambda sentence: None)
    assert card.written
    note = "intervals reach as far as the largest error of 5 rows"
    assert note in to_html(facts.read(con, exposure, card.version_id), [])


def test_a_table_too_wide_for_the_memory_says_so_and_nothing_is_written(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"x{number}" for number in range(149)]
    columns = {"id": "VARCHAR", "cell": "VARCHAR", **dict.fromkeys([*names, "y"], "DOUBLE")}
    con.execute(
        "create table lake.features.points as select 'k' || i as id, 'c' || (i % 9) as cell, "
        f"{', '.join(f'random() as {name}' for name in names)}, random() as y from range(90) as t(i)"
    )
    con.execute(
        "insert into lake.ops.publications select 'features.points@x', 'features.points', max(snapshot_id), 'f', "
        "'1', 90, 'i', 'me', null, now() from lake.snapshots()"
    )
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "24MB")
    with pytest.raises(MemoryRanOutError) as error:
        consume(replace(exposure, columns=columns))
    assert str(error.value).startswith(
        "Exposure points: DuckDB ran out of memory, of which it may use 22.8 MiB. features.points has 150 columns to "
    )
    assert [count(con, t) for t in ("ops.consumptions", "ml.model_versions", "ml.predictions")] == [0, 0, 0]


def test_another_spec_is_judged_anew_on_the_same_rows(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(invocation="one")
    first = consume(exposure)
    publish(invocation="two")
    wider = replace(exposure, spec=exposure.spec.model_copy(update={"coverage": 0.99}))
    second = consume(wider)
    assert second.outcome == "refreshed"
    assert second.version_id != first.version_id


def test_giving_up_records_the_reason_once(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    consumption.give_up(exposure, publication, "three tries failed")
    consumption.give_up(exposure, publication, "three tries failed")
    assert con.execute("select publication_id, outcome, reason from lake.ops.consumptions").fetchall() == [
        (publication, "failed", "three tries failed")
    ]


def test_what_was_left_as_failed_is_tried_once_more_when_a_person_asks(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    newest = publish(0.2)
    consumption.give_up(exposure, newest, "three tries failed")
    assert consumption.consume(exposure, say=silent) is not None  # the older one, which waited
    assert consumption.consume(exposure, say=silent) is None  # who does not ask gets no other try
    again = consumption.consume(exposure, retry=True, say=silent)
    assert again is not None
    assert (again.publication.publication_id, again.outcome, again.predicted_rows) == (newest, "refreshed", 400)
    rows = con.execute(
        "select publication_id, outcome from lake.ops.consumptions order by consumed_at desc limit 1"
    ).fetchall()
    assert rows == [(newest, "refreshed")]
    assert con.execute("select count(*) from lake.ops.consumptions where outcome = 'failed'").fetchall() == [(0,)]
    assert consumption.consume(exposure, retry=True, say=silent) is None


def test_only_the_newest_publication_is_tried_once_more(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    consumption.give_up(exposure, publish(), "three tries failed")
    publish(0.2)
    consume(exposure)
    assert consumption.consume(exposure, retry=True, say=silent) is None
    outcomes = con.execute("select outcome from lake.ops.consumptions order by consumed_at").fetchall()
    assert outcomes == [("failed",), ("trained",)]


def _consume_in_a_process(exposure: Exposure) -> None:
    consumption.consume(exposure, say=lambda sentence: None)


def test_four_processes_at_once_consume_a_publication_once(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_consume_in_a_process, args=(exposure,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert [count(con, t) for t in ("ops.consumptions", "ml.model_versions", "ml.predictions")] == [1, 1, 400]


def test_a_killed_consumer_leaves_nothing_and_frees_its_lock(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=_hold, args=(exposure, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    begun = time.monotonic()
    assert consume(exposure).outcome == "trained"
    assert time.monotonic() - begun < 30
    assert [count(con, t) for t in ("ops.consumptions", "ml.model_versions", "ml.predictions")] == [1, 1, 400]


def _hold(exposure: Exposure, started: "multiprocessing.synchronize.Event") -> None:
    with locks.lock(f"consume {exposure.name}"):
        started.set()
        time.sleep(600)


def test_a_lock_lost_before_the_commit_prevents_it(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()

    def end_the_lock(sentence: str) -> None:
        if sentence.startswith("fitted"):
            other = locks.connect("someone who ends connections")
            locks._ask(
                other,
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
                " and database = (select oid from pg_database where datname = current_database())",
            )
            other.close()

    with pytest.raises(locks.LockLostError, match="The lock 'consume points' was lost before the commit"):
        consumption.consume(exposure, say=end_the_lock)
    assert [count(con, t) for t in ("ops.consumptions", "ml.model_versions", "ml.predictions")] == [0, 0, 0]
    assert consume(exposure).outcome == "trained"


def test_an_estimator_of_one_s_own_that_was_edited_is_learned_anew(
    exposure: Exposure, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "tract_own_forest.py"
    source.write_text("from sklearn.tree import DecisionTreeRegressor as Forest\n")
    monkeypatch.syspath_prepend(tmp_path)
    candidates = (CandidateSpec(name="forest", estimator="tract_own_forest.Forest"),)
    own = replace(exposure, spec=exposure.spec.model_copy(update={"candidates": candidates}))
    outcomes = []
    for text in ("", "# a comment\n", "DEPTH = 3\n"):
        source.write_text(source.read_text() + text)
        publish()
        consumed = consumption.consume(own, say=lambda sentence: None)
        assert consumed is not None
        outcomes.append((consumed.outcome, consumed.version_id))
    (first, version), *others = outcomes
    assert (first, others[0]) == ("trained", ("unchanged", version))
    assert others[1][0] == "refreshed"
    assert others[1][1] != version


def test_a_target_s_champion_is_judged_against_production_s_where_it_is_asked_so(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(noise=0.5)
    assert consumption.consume(exposure, say=silent) is not None
    publish(0.2, noise=5.0)
    first = consumption.consume(replace(exposure, name="pr_41.points"), say=silent)
    assert first is not None
    assert first.reason.startswith("first model")  # its own gate knows nothing of production
    judged = consumption.consume(replace(exposure, name="pr_42.points"), against=exposure.name, say=silent)
    assert judged is not None
    assert (judged.outcome, judged.champion_id) == ("refreshed", None)
    assert judged.reason.startswith("not promoted, refresh: ")
    assert champions.with_champions(con) == ["points", "pr_41.points"]
