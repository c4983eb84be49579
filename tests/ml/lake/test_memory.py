"""Memory and threads are settings: what does not fit spills below the home, and learning goes on."""

from pathlib import Path

import pytest

from ml import consumption, lake
from ml.exposures import Exposure
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def test_what_does_not_fit_into_the_limit_spills_below_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "100MB")
    monkeypatch.setenv("TRACT_THREADS", "1")
    with lake.connect() as con:
        assert con.execute("select current_setting('memory_limit'), current_setting('threads')").fetchall() == [
            ("95.3 MiB", 1)
        ]
        con.execute("create temp table t as select hash(i) as a, md5(i::varchar) as b from range(4000000) as t(i)")
        spilled = con.execute("select sum(size) from duckdb_temporary_files()").fetchall()[0][0]
        assert spilled > 50_000_000
        assert list((home / "tmp").iterdir())
        assert con.execute("select count(*), count(distinct a) from t").fetchall() == [(4_000_000, 4_000_000)]


def test_learning_and_predicting_keep_within_the_limit(
    exposure: Exposure, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(rows=1_500_000)  # 100 MB of values, keys and groups
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "120MB")
    monkeypatch.setenv("TRACT_THREADS", "1")
    made = consumption.consume(exposure, say=silent)
    assert made is not None
    assert made.predicted_rows == 1_500_000
    assert made.metrics["rows"] == pytest.approx(200_000, rel=0.01)
