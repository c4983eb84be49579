"""Databases beside the lake's catalog, in the same Postgres: Dagster's and MLflow's."""

from sqlalchemy.engine import URL

from ml.lake import locks


def url(database: str, **query: str) -> str:
    """The address of a database for SQLAlchemy, with the password in it.

    Args:
        query: More of libpq's parameters.

    Raises:
        LakeUnavailableError: The catalog's secret is not there.
    """
    secret = locks.secret()
    made = URL.create(
        "postgresql+psycopg2",  # SQLAlchemy 2.1 takes psycopg 3 for a bare postgresql://
        username=secret["user"],
        password=secret["password"],
        database=database,
        query={
            "host": secret["host"],
            "port": secret.get("port", "5432"),
            **{name: secret[name] for name in ("sslmode", "sslrootcert") if name in secret},
            **query,
        },
    )
    return made.render_as_string(hide_password=False)
