"""The door: a lake that is not up is one sentence, a transaction commits whole or not at all, memory is a setting."""

from pathlib import Path

import duckdb
import pytest

from ml import consumption, lake
from ml.errors import MemoryRanOutError
from ml.exposures import Exposure
from ml.lake import locks
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


def test_without_secrets_the_lake_is_not_up_and_one_sentence_says_what_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_HOME", str(tmp_path / "nothing"))
    assert lake.home() == tmp_path / "nothing"
    with pytest.raises(lake.LakeUnavailableError, match=r"^The lake is not up: .*\. Start it with `make up`\.$"):
        lake.connect()


def test_secrets_that_are_written_anew_are_read_anew(home: Path) -> None:
    there, catalog = lake.secrets()["tract_s3"], locks.secret()
    assert "region=us-east-1;" in there
    with duckdb.connect(config=lake.config()) as con:
        lake.load_extensions(con, ("httpfs",))
        con.execute(
            "create or replace persistent secret tract_s3 (type s3, key_id 'k', secret 's', region 'eu-central-1')"
        )
    assert "region=eu-central-1;" in lake.secrets()["tract_s3"]
    assert locks.secret() == catalog


def test_no_unsigned_extension_is_loaded_through_the_door(home: Path, tmp_path: Path) -> None:
    (signed,) = (home / "extensions").rglob("httpfs.duckdb_extension")
    content = bytearray(signed.read_bytes())
    content[1000] ^= 1
    other = tmp_path / "other.duckdb_extension"  # one of a name that is loaded already would not be read
    other.write_bytes(content)
    with lake.connect() as con:
        with pytest.raises(duckdb.IOException, match="signature"):
            con.execute(f"load '{other}'")
        with pytest.raises(duckdb.InvalidInputException, match="allow_unsigned_extensions"):
            con.execute("set allow_unsigned_extensions = true")


def test_limits_are_settings_of_the_process_and_wrong_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_HOME", str(tmp_path))
    assert "memory_limit" not in lake.config()
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "much")
    monkeypatch.setenv("TRACT_THREADS", "2")
    assert (lake.config()["memory_limit"], lake.config()["threads"]) == ("much", "2")
    with pytest.raises(lake.LakeUnavailableError, match="Set TRACT_MEMORY_LIMIT to such as 2GB, and TRACT_THREADS to"):
        lake.connect()


def test_a_limit_below_what_the_catalog_takes_is_named_as_such(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_MEMORY_LIMIT", "1MB")
    with pytest.raises(MemoryRanOutError, match=r"ran out of memory when it opened the lake .* Raise TRACT_MEM"):
        lake.connect()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [("one.\ntwo", "one"), ("  spaced \n", "spaced"), (ValueError(), "ValueError"), (ValueError("why."), "why")],
)
def test_an_error_s_first_line_is_what_it_says(error: object, sentence: str) -> None:
    assert lake.first_line(error) == sentence


def test_a_transaction_is_one_signed_snapshot_or_nothing(con: duckdb.DuckDBPyConnection) -> None:
    def snapshots() -> list[tuple[str, str]]:
        return con.execute(
            "select author, commit_message from lake.snapshots() where author is not null order by snapshot_id"
        ).fetchall()

    def refuse() -> None:
        raise ValueError("the lock was lost")

    with lake.transaction(con, "Ann", "two tables", lambda: None):
        con.execute("create table lake.features.one as select 1 as n")
        con.execute("create table lake.features.two as select 2 as n")
    assert snapshots() == [("Ann", "two tables")]
    with pytest.raises(ValueError, match="the lock was lost"), lake.transaction(con, "Ann", "refused", refuse):
        con.execute("insert into lake.features.one values (3)")
    with pytest.raises(duckdb.Error, match="failed"), lake.transaction(con, "Ann", "failed", lambda: None):
        con.execute("insert into lake.features.one values (4); select error('failed')")
    assert snapshots() == [("Ann", "two tables")]
    assert con.execute("select n from lake.features.one").fetchall() == [(1,)]
    assert lake.root(con).startswith("s3://tract/lake_")
