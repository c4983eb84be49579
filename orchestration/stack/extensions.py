"""DuckDB's extensions, from the installed wheels: signed files, checked once, here; nothing is downloaded."""

import fcntl
from importlib.metadata import version
from pathlib import Path

NAMES = ("httpfs", "ducklake", "postgres_scanner")


def install(directory: Path) -> None:
    """Put the extensions of the installed DuckDB into a directory, once; safe to call from many processes."""
    if _present(directory):
        return
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _present(directory):
            return
        # Imported here: it takes 0.15 s, and is needed once in the life of a home.
        import duckdb
        from duckdb_extensions import import_extension  # type: ignore[import-untyped]

        with duckdb.connect(config={"extension_directory": str(directory)}) as connection:
            for name in NAMES:
                import_extension(name, con=connection)
                connection.execute(f"load {name}")  # checks its signature; `ml.lake` trusts the file from then on
        # whatever the umask: nobody else writes what all of our processes load
        for path in (directory, *directory.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def _present(directory: Path) -> bool:
    # DuckDB writes the .info file last.
    folder = f"v{version('duckdb')}"
    return all(any(directory.glob(f"{folder}/*/{name}.duckdb_extension.info")) for name in NAMES)
