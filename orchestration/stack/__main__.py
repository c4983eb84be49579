"""`python -m orchestration.stack up|ui|mlflow|down|status|connect`."""

import argparse
import os
import sys
from pathlib import Path

from ml.lake import home
from orchestration import stack
from orchestration.stack import layout, processes, remote


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors of the user are one sentence on stderr, and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.stack", description=stack.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run, and wait until it is ready")
    commands.add_parser("ui", help="bring up Dagster too, and say where its UI is")
    commands.add_parser("mlflow", help="bring up MLflow's server too, and say where it is")
    commands.add_parser("down", help="stop what was started from this home; its data stays")
    commands.add_parser("status", help="one line per service")
    connect = commands.add_parser("connect", help="use the S3 and Postgres that TRACT_S3_* and TRACT_POSTGRES_* name")
    connect.add_argument("--local", action="store_true", help="use the local servers again")
    options = parser.parse_args(arguments)
    try:
        _run(home(), options)
    except layout.StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(where: Path, options: argparse.Namespace) -> None:
    if options.command == "down":
        stopped = stack.down(where)
        print("\n".join(f"{name} stopped" for name in stopped) or "nothing ran")
        return
    if options.command == "connect" and options.local:
        stack.connect_local(where)
        print("the local servers are used again; start them with up")
        return
    if options.command == "connect":
        stack.connect(where, *remote.settings(os.environ))
    elif options.command in ("up", "ui", "mlflow"):
        stack.up(where)
        if options.command == "ui":
            print(stack.ui(where))
            return
        if options.command == "mlflow":
            print(stack.track(where))
            return
    for row in stack.status(where):
        print(_line(row))


def _line(row: processes.Status) -> str:
    parts = [f"{row.name:<9}", f"{row.state:<9}", row.address]
    if row.pid is not None:
        parts.append(f"pid {row.pid}")
    if row.data is not None:
        parts.append(f"data {row.data}")
    if row.log is not None:
        parts.append(f"log {row.log}")
    return "  ".join(part for part in parts if part).rstrip()


if __name__ == "__main__":
    sys.exit(main())
