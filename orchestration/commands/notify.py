"""`tract notify`: what people are told is sent from here, where no Dagster runs."""

import click

from ml import delivery
from ml.records import migrations


def main() -> None:
    """Send what was not sent yet, also to who refused a moment ago, and say what came of it.

    Raises:
        LakeUnavailableError: The lake is not up.
        LakeVersionError: The lake is of another release.
        LockTimeoutError: Another sender is at work.
    """
    with migrations.entered() as con:
        if not delivery.deliver(con, at_once=True, say=click.echo):
            click.echo("Nothing is to be sent.")
