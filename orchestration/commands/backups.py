"""`tract backup | restore`: a lake in a directory, and the lake of a directory."""

from pathlib import Path

import click

from ml import lake
from orchestration import backups


def backup(directory: Path) -> None:
    """Write the lake into a directory."""
    lake.check()
    backups.back_up(directory, click.echo)


def restore(directory: Path) -> None:
    """Make the lake of a directory in the place that is connected."""
    lake.check()
    backups.restore(directory, click.echo)
