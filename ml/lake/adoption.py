"""Parquet files that somebody else wrote below the data path become rows of a table, uncopied, in a transaction.

The lake does not check NOT NULL then (DuckLake's issue 1295; maintenance would fail on the NULL weeks later), and takes
a file twice without a word, which doubles its rows. So each try writes to a directory of its own, which is adopted
once, inside the transaction that makes the table or the commit; and what came is counted before that ends.
"""

from collections.abc import Iterable
from uuid import uuid4

import duckdb

from ml.lake.sql import quoted, text


def directory(con: duckdb.DuckDBPyConnection, schema: str, name: str) -> str:
    """An address that no try had before, below the lake's data path, where maintenance finds what nobody adopted."""
    ((path,),) = con.execute("select data_path from ducklake_settings('lake')").fetchall()
    return f"{str(path).rstrip('/')}/{schema}/{name}/{uuid4()}"


def files(con: duckdb.DuckDBPyConnection, place: str) -> list[str]:
    """The parquet files of a directory."""
    return [
        str(row[0]) for row in con.execute("select file from glob(?) order by 1", [f"{place}/*.parquet"]).fetchall()
    ]


def count(con: duckdb.DuckDBPyConnection, found: Iterable[str]) -> int:
    """The rows of parquet files, by their footers."""
    listed = ", ".join(map(text, found))
    if not listed:
        return 0
    ((rows,),) = con.execute(f"select sum(num_rows)::bigint from parquet_file_metadata([{listed}])").fetchall()
    return int(rows)


def statements(
    schema: str, name: str, found: Iterable[str], since: str, rows: int, required: Iterable[str]
) -> list[str]:
    """What adopts files in the caller's transaction, and raises where rows are missing, or a value that must be there.

    Args:
        found: The files, each adopted once.
        since: A condition on the table's rows that none but the adopted ones meet; `true` of a table just made.
        rows: How many the files have.
        required: Columns that must not be NULL.
    """
    table, said = f"lake.{quoted(schema)}.{quoted(name)}", f"{schema}.{name}"
    paths = ", ".join(map(text, found))
    adopted = (
        [f"call ducklake_add_data_files('lake', {text(name)}, [{paths}], schema => {text(schema)})"] if paths else []
    )
    wrong = (
        f"select case when count(*) <> {rows} then error({text(f'{said} was to get {rows} rows by adoption, and got ')}"
        f" || count(*)) end from {table} where {since}"
    )
    missing = [
        f"select case when count(*) > 0 then error(count(*) || "
        f"{text(f' rows of {said} have no {column}, which must not be NULL: nothing was adopted')}) end "
        f"from {table} where {since} and {quoted(column)} is null"
        for column in required
    ]
    return [*adopted, wrong, *missing]
