"""Production's manifest beside the lake."""

import duckdb

from ml.lake import state


def test_the_manifest_that_is_kept_is_read(con: duckdb.DuckDBPyConnection) -> None:
    assert state.read(con) is None
    for manifest in (b'{"nodes": {}}', b'{"nodes": {"model.a.b": {"schema": "features"}}}'):
        state.keep(con, manifest)
        assert state.read(con) == manifest
