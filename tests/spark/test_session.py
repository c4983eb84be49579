"""An engine's failures as sentences; no server."""

import pytest

from ml.spark import session
from ml.spark.session import EngineError

RPC = """<_InactiveRpcError of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "failed to connect to all addresses; last error: Connection refused"
>"""
PYTHON = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 1, in read
RuntimeError: the engine's worker has duckdb 1.4.0, and duckdb 1.5.5 are needed: install Tract's lock there

JVM stacktrace:"""


def test_what_went_wrong_is_its_last_word() -> None:
    assert session.why(Exception(RPC)) == "failed to connect to all addresses; last error: Connection refused"
    assert session.why(Exception(PYTHON)).startswith("RuntimeError: the engine's worker has duckdb 1.4.0")
    assert session.why(Exception("[PATH_NOT_FOUND] s3a://b/t.\nmore")) == "[PATH_NOT_FOUND] s3a://b/t"


def test_a_server_that_is_gone_is_told_from_one_that_refuses() -> None:
    gone = r"The engine at sc://h is gone, or went while it worked: failed .* try once"
    with pytest.raises(EngineError, match=gone), session.told("sc://h", (ValueError,)):
        raise ValueError(RPC)
    refused = "did not do what was asked: RuntimeError: the engine's worker has"
    with pytest.raises(EngineError, match=refused), session.told("sc://h", (ValueError,)):
        raise ValueError(PYTHON)


@pytest.mark.parametrize("said", ["spark://h:7077", "h:15002", "sc://"])
def test_an_address_of_something_else_is_named(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session.REMOTE, said)
    with pytest.raises(EngineError, match=f"TRACT_SPARK is '{said}'. It must be such as sc://host:15002"):
        session.address()


def test_a_token_in_the_address_is_in_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("sc://127.0.0.1:1/;token=hunter2", "spark://127.0.0.1:1;token=hunter2"):
        monkeypatch.setenv(session.REMOTE, said)
        with pytest.raises(EngineError, match=r"//127\.0\.0\.1:1\b") as raised, session.session():
            pass
        assert "hunter2" not in str(raised.value)
    with pytest.raises(EngineError) as raised, session.told("sc://h/;token=hunter2", (ValueError,)):
        raise ValueError(RPC)
    assert "hunter2" not in str(raised.value)


def test_s3_has_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.there("s3://b/t.parquet") == "s3a://b/t.parquet"
    monkeypatch.setenv(session.SCHEME, "s3")
    assert session.there("s3://b/t.parquet") == "s3://b/t.parquet"
    monkeypatch.setenv(session.SCHEME, "gs")
    with pytest.raises(EngineError, match="TRACT_SPARK_SCHEME is 'gs'"):
        session.scheme()


def test_the_size_of_tables_that_are_tested_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACT_SPARK_TESTS_ABOVE_ROWS", raising=False)
    assert session.tests_above_rows() == 10_000_000
    monkeypatch.setenv("TRACT_SPARK_TESTS_ABOVE_ROWS", "0")
    assert session.tests_above_rows() == 0
    for said in ("1e6", "-1", "ten", ""):
        monkeypatch.setenv("TRACT_SPARK_TESTS_ABOVE_ROWS", said)
        with pytest.raises(EngineError, match=f"ABOVE_ROWS is '{said}'. It must be a whole number of rows, such as"):
            session.tests_above_rows()
