"""How the lake stores what is written: small parquet files that others read too, by options that anybody may change."""

import duckdb
import pyarrow.parquet as pq

from ml import lake
from ml.records import tables


def files(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    rows = con.execute("select data_file from ducklake_list_files('lake', ?, schema => 'features')", [table]).fetchall()
    return [row[0] for row in rows]


def test_doubles_are_packed_and_compressed_and_anybody_reads_them(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table lake.features.numbers as "
        "select md5(cast(i as varchar)) as id, 100000 * (1 + sin(i) / 10) as value "
        "from range(50_000) as t(i) order by i"
    )
    (file,) = files(con, "numbers")
    found = con.execute(
        "select path_in_schema, compression, encodings from parquet_metadata(?) order by row_group_id, column_id",
        [file],
    ).fetchall()
    assert found == [("id", "ZSTD", "DELTA_LENGTH_BYTE_ARRAY"), ("value", "ZSTD", "BYTE_STREAM_SPLIT")]
    store = lake.store()
    read = pq.read_table(file.removeprefix(f"{lake.root(con)}/"), filesystem=store)
    assert read.equals(con.execute("from lake.features.numbers").to_arrow_table().cast(read.schema))


def test_an_option_that_somebody_chose_stays(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("call lake.set_option('parquet_compression', 'snappy')")
    present = [row[0] for row in con.execute("select option_name from ducklake_options('lake')").fetchall()]
    assert tables.option_statements(present) == []
    present.remove("parquet_version")
    assert tables.option_statements(present) == ["call lake.set_option('parquet_version', '2')"]
