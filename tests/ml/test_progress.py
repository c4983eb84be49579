"""Long work says how far it is; quick work says nothing."""

import re
import time

import duckdb
import pytest

from ml import progress


def test_the_sentence_has_rows_rate_and_time_left() -> None:
    assert progress.sentence("summing", 4_200_000, 10_000_000, 2.0) == (
        "summing: 4,200,000 of 10,000,000 rows, 2,100,000 a second, 3 s left"
    )
    assert progress.sentence("judging", 2, 5, 4.0, "folds") == "judging: 2 of 5 folds, 0.5 a second, 6 s left"
    assert progress.sentence("judging", 0, 5, 4.0, "folds").endswith("time left unknown")


def test_counted_work_speaks_after_a_while_and_not_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    quick = progress.Progress(said.append, "predicting", 3)
    quick.advance(1)
    assert said == []
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    quick.advance(1)
    quick.advance(1)
    assert [sentence.split(",")[0] for sentence in said] == ["predicting: 2 of 3 rows"]


@pytest.mark.slow
def test_a_statement_is_followed_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE", 0.05)
    said: list[str] = []
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("set enable_progress_bar = true; set enable_progress_bar_print = false; set progress_bar_time = 0")
        con.execute("create table t as select range as i from range(20000000)")
        with progress.following(con, said.append, "hashing", 20_000_000):
            con.execute("select max(md5(i::varchar)) from t").fetchall()
        count = len(said)
        time.sleep(0.2)
        assert len(said) == count  # silent once it has ended
    assert said
    done = [int(re.sub(r"\D", "", sentence.split(" of ")[0])) for sentence in said]
    assert done == sorted(done)
    assert 0 < done[0] < 20_000_000
    assert all(re.fullmatch(r"hashing: [\d,]+ of 20,000,000 rows, [\d,]+ a second, [\d,]+ s left", s) for s in said)
