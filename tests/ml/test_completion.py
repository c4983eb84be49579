"""What is measured after the commit: the same numbers whoever comes to it, once, and pending until then."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import duckdb

from ml import completion, consumption
from ml.completion import CHANGED
from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.learning import candidates, judging, training_set
from ml.records import champions, completions, overview, versions
from tests.ml.conftest import Publish
from tests.ml.rows import silent

MEASURED = ("ml.model_metrics", "ml.heldout_predictions", "ml.drift", "ml.live_errors")


def consume(exposure: Exposure) -> Consumption:
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    return made


def rows(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[object, ...]]:
    without = "exclude (measured_at)" if table in ("ml.drift", "ml.live_errors") else ""
    return con.execute(f"select * {without} from lake.{table} order by all").fetchall()


def test_the_other_split_is_judged_after_the_commit_with_the_numbers_that_it_would_have_had_before(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    made = consume(exposure)
    assert made.predicted_rows == 400
    assert con.execute("select split, count(*) from lake.ml.heldout_predictions group by 1").fetchall() == [
        (exposure.spec.split, 400)
    ]
    assert [one.publication.publication_id for one in completions.pending(con, exposure)] == [publication]
    assert [one.pending for one in overview.followed(con, 9)] == [True]

    (done,) = completion.complete(exposure, run_id="a run", say=silent)
    assert (done.publication_id, done.reason) == (publication, "judged by group folds")
    training = training_set.read(con, exposure, made.publication, silent)
    (recipe,) = exposure.spec.recipes
    whole = judging.judge(candidates.build(recipe, con, training, silent), training)
    assert made.version_id is not None
    there = versions.metrics(con, exposure.name, made.version_id).set_index(["candidate", "split", "slice", "metric"])
    expected = whole.metrics.set_index(["candidate", "split", "slice", "metric"])
    assert there["value"].to_dict() == expected["value"].to_dict()
    held = con.execute("select split, id, predicted, lower, upper from lake.ml.heldout_predictions").fetchall()
    columns = whole.heldout[["split", "id", "predicted", "lower", "upper"]]
    assert sorted(held) == sorted(columns.itertuples(index=False, name=None))

    assert con.execute("select publication_id, reason, run_id from lake.ops.completions").fetchall() == [
        (publication, done.reason, "a run")
    ]
    assert [one.pending for one in overview.followed(con, 9)] == [False]
    assert completion.complete(exposure, say=silent) == []


def test_two_that_were_cut_off_are_completed_as_if_each_had_been_in_its_time(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    names = []
    for seed in (0.1, 0.2, 0.3):
        names.append(publish(seed))
        consume(exposure)
    served = champions.champion(con, exposure.name)
    assert [one.publication_id for one in completion.complete(exposure, say=silent)] == names
    first, second, third = (
        found[0]
        for found in con.execute("select version_id from lake.ml.model_versions order by trained_at").fetchall()
    )
    # each against the champion that stood when it came, and the predictions that served then
    assert con.execute(
        "select distinct publication_id, version_id, baseline_publication_id from lake.ml.drift order by all"
    ).fetchall() == [(names[1], first, names[0]), (names[2], second, names[1])]
    assert con.execute(
        "select publication_id, version_id, predicted_publication_id, row_count from lake.ml.live_errors order by all"
    ).fetchall() == [(names[1], first, names[0], 400), (names[2], second, names[1], 400)]
    assert served is not None and served.version_id == third


KILLED = """
import os, signal
from ml import completion, consumption
from ml.records import completions
from tests.ml.conftest import POINTS
consumption.consume(POINTS, say=lambda sentence: None)
completions.record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # all is measured and written, nothing committed
completion.complete(POINTS, say=lambda sentence: None)
"""


def test_a_process_that_is_killed_leaves_its_predictions_and_the_next_finishes_with_the_same_numbers(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    consume(exposure)
    completion.complete(exposure, say=silent)
    publication = publish(0.2)
    killed = subprocess.run([sys.executable, "-c", KILLED], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert con.execute("select count(*) from lake.ml.predictions").fetchall() == [(800,)]
    before = {table: len(rows(con, table)) for table in MEASURED}
    assert before == {
        "ml.model_metrics": 45, "ml.heldout_predictions": 1200, "ml.drift": 0, "ml.live_errors": 0,
    }  # fmt: skip
    assert consumption.consume(exposure, say=silent) is None
    (done,) = completion.complete(exposure, say=silent)
    assert done.publication_id == publication
    assert {table: len(rows(con, table)) for table in MEASURED} == {
        "ml.model_metrics": 60, "ml.heldout_predictions": 1600, "ml.drift": 3, "ml.live_errors": 1,
    }  # fmt: skip


def test_rows_that_were_judged_before_are_complete_without_being_judged(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(invocation="one")
    consume(exposure)
    publish(invocation="two")
    assert consume(exposure).outcome == "unchanged"
    _, again = completion.complete(exposure, say=silent)
    assert again.reason == "there was nothing to measure"
    assert len(rows(con, "ml.heldout_predictions")) == 800


def test_what_another_spec_consumed_is_not_measured_by_this_one(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish()
    consume(exposure)
    other = replace(exposure, spec=exposure.spec.model_copy(update={"folds": 4}))
    (done,) = completion.complete(other, say=silent)
    assert done.reason == CHANGED
    assert len(rows(con, "ml.heldout_predictions")) == 400
    assert completion.complete(exposure, say=silent) == []


def test_what_is_given_up_is_pending_no_more(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish()
    consume(exposure)
    completion.give_up(exposure, "features.points@none", "three tries failed")
    assert len(completions.pending(con, exposure)) == 1
    completion.give_up(exposure, publication, "three tries failed")
    assert con.execute("select publication_id, reason from lake.ops.completions").fetchall() == [
        (publication, "three tries failed")
    ]
    assert completion.complete(exposure, say=silent) == []


def test_the_champion_and_the_predictions_of_a_moment_are_those_before_it(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    publish(0.2)
    second = consume(exposure)
    one, two = completions.pending(con, exposure)
    assert champions.newest_predicted(con, exposure, one.consumed_at) is None
    assert champions.newest_predicted(con, exposure, two.consumed_at) == first.publication
    assert champions.newest_predicted(con, exposure) == second.publication
    standing = champions.standing(con, exposure, second.publication, before=two.consumed_at)
    assert standing.champion is not None and standing.champion.version_id == first.version_id
