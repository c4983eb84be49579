"""`tract up | ui | mlflow | down | connect`: the servers, started, stopped or named, and a line on each."""

import os

import click

from ml.lake import home, signing
from orchestration import profile, project, stack
from orchestration.stack import foreground, graphql, processes, remote


def up() -> None:
    """Start what does not run, and show it."""
    stack.up(home())
    show()


def ui(stay: bool) -> None:
    """Start Dagster too, and say where its UI is; in the foreground, stay until it is told to end."""
    for sentence in profile.find(project.ROOT).ignored:
        click.echo(sentence, err=True)
    stack.up(home())
    before = processes.logged(home(), graphql.DAGSTER)
    click.echo(stack.ui(home()))
    if stay:
        foreground.attend(home(), lambda text: click.echo(text, nl=False), before)


def mlflow() -> None:
    """Start MLflow's server too, and say where it is."""
    stack.up(home())
    click.echo(stack.track(home()))
    stack.reload(home())


def down() -> None:
    """Stop what was started from this home."""
    stopped = stack.down(home())
    click.echo("\n".join(f"{name} stopped" for name in stopped) or "nothing ran")


def connect(local: bool) -> None:
    """Use the servers that the environment names, or the local ones again."""
    if local:
        stack.connect_local(home())
        click.echo("the local servers are used again; start them with up")
        return
    stack.connect(home(), *remote.settings(os.environ))
    if given := os.environ.get(signing.SETTING):
        signing.take(given)
    show()


def show() -> None:
    """A line a service."""
    for row in stack.status(home()):
        click.echo(_line(row))


def _line(row: processes.Status) -> str:
    parts = [f"{row.name:<9}", f"{row.state:<9}", row.address]
    if row.pid is not None:
        parts.append(f"pid {row.pid}")
    if row.data is not None:
        parts.append(f"data {row.data}")
    if row.log is not None:
        parts.append(f"log {row.log}")
    return "  ".join(part for part in parts if part).rstrip()
