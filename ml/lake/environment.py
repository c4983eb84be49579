"""What a shell would decide otherwise: where libpq connects, and whether loopback goes through a proxy."""

import os

# Names of this machine, as every client of HTTP and gRPC compares them.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GRPC = "no_grpc_proxy"  # which gRPC reads in place of the two that all read


def settle() -> None:
    """Make the lake's secrets alone decide where and how it is entered, in this process and in those it starts.

    Every PG* variable is taken away: libpq reads them in psycopg2 and in DuckDB alike, at any later connection, and
    PGHOSTADDR, PGSERVICE or PGOPTIONS win over or break what a secret says. Loopback is added to what no proxy is asked
    for, whether a proxy is set now or later; for any other host the user's proxies stay as they are.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    said = {name: os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        # some read one of the two, some the other where the one is not set
        os.environ[name] = _with_loopback(said[name] or said[other])
    if GRPC in os.environ:
        os.environ[GRPC] = _with_loopback(os.environ[GRPC])


def _with_loopback(hosts: str) -> str:
    found = [host.strip() for host in hosts.split(",") if host.strip()]
    if found == ["*"]:  # all hosts, but only where it stands alone
        return "*"
    return ",".join([*found, *(host for host in LOOPBACK if host not in found)])
