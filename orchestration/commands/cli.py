"""The command `tract`: every verb of it, what it takes, and nothing else; each is done elsewhere.

What a command needs is imported when it runs: `tract --help` takes 0.2 s, and the project must be known before.
"""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from ml.errors import TractError

EXPOSURE_HELP = "The exposure; the project's only one where it has one."


class Sentences(click.Group):
    """A person's mistake is a sentence on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TractError as error:
            raise click.ClickException(str(error)) from None
        except Exception as error:
            from ml.lake import away, telling

            if not away.is_away(error):
                raise
            raise click.ClickException(telling.sentence(error)) from None


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--project-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The dbt project; otherwise DBT_PROJECT_DIR, the project that this directory is in, or Tract's example.",
)
def tract(project_dir: Path | None) -> None:
    """Train and score scikit-learn models where a dbt warehouse lives, when its features are freshly built."""
    if project_dir is not None:
        os.environ["DBT_PROJECT_DIR"] = str(project_dir.resolve())


@tract.command()
@click.option("--model", help="The dbt model to learn from; with --key and --target an exposure is written.")
@click.option("--key", help="Its column that identifies a row.")
@click.option("--target", help="Its column to be predicted.")
@click.option("--yes", is_flag=True, help="Write without asking.")
def init(model: str | None, key: str | None, target: str | None, yes: bool) -> None:
    """Make an existing dbt-duckdb project ready: show what would change, then write it.

    Packages, profile, hook and an exposure; what is there already stays as it is.
    """
    from ml.code import project
    from orchestration.commands import init

    changes = init.plan(project(), init.Asked(model, key, target))
    if not changes:
        click.echo(f"{project()} is ready; nothing to change.")
        return
    click.echo("".join(change.diff for change in changes))
    if not yes:
        click.confirm("Write this?", abort=True)
    for change in changes:
        change.write()
    click.echo(init.NEXT)


@tract.command()
def up() -> None:
    """Start S3 and Postgres, and wait until they are ready."""
    from orchestration.commands import services

    services.up()


@tract.command()
@click.option("--foreground", is_flag=True, help="Stay, show Dagster's log, and end with it, as a service does.")
def ui(foreground: bool) -> None:
    """Start Dagster too, and say where its UI is."""
    from orchestration.commands import services

    services.ui(foreground)


@tract.command()
def mlflow() -> None:
    """Start MLflow too, and log every version there from then on (`make mlflow` installs it)."""
    from orchestration.commands import services

    services.mlflow()


@tract.command()
def down() -> None:
    """Stop what was started here; the data stays."""
    from orchestration.commands import services

    services.down()


@tract.command()
@click.option("--local", is_flag=True, help="Use the local servers again.")
def connect(local: bool) -> None:
    """Use the S3 and Postgres that TRACT_S3_* and TRACT_POSTGRES_* name."""
    from orchestration.commands import services

    services.connect(local)


@tract.command()
@click.option("--apply", is_flag=True, help="Make them on the local servers.")
def roles(apply: bool) -> None:
    """Print the SQL and the S3 policies of three roles: producer, consumer, reader.

    With --apply each has a home on the local servers: TRACT_HOME=… is who you are.
    """
    from orchestration.commands import roles

    if apply:
        roles.apply()
    else:
        roles.show()


@tract.command()
@click.option("--target", help="Of dbt's, other than production: build there what the branch changed, and publish it.")
@click.option("--once", is_flag=True, help="Learn from that here, without Dagster; exit code 3 where the gate refuses.")
def run(target: str | None, once: bool) -> None:
    """Everything, from nothing to predictions: stack, producer, event, consumer.

    With --target and --once, as a CI job does: the branch's own build, and what production's gate says of it.
    """
    if once != (target is not None):
        raise click.UsageError("--target and --once go together: tract run --target pr_41 --once.")
    if target is not None:
        from orchestration.commands import targets

        targets.once(target)
        return
    from orchestration.commands import run

    run.main()


@tract.command()
@click.option("--target", required=True, help="Of dbt's, other than production.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def remove(target: str, yes: bool) -> None:
    """Remove a target's schemas, rows, exports and cards from the lake."""
    from orchestration.commands import targets

    targets.remove(target, yes)


@tract.command()
def status() -> None:
    """Show what runs, what was published and learned, who serves, drift and sizes."""
    from orchestration.commands import status

    status.main()


@tract.command()
def notify() -> None:
    """Send what people are told and were not yet: as Dagster's sensor does, and at once to who refused before."""
    from orchestration.commands import notify

    notify.main()


@tract.command()
def docs() -> None:
    """Write dbt's docs of the lake as one file, with the lineage through the models."""
    from orchestration.commands import docs

    docs.main()


@tract.command()
@click.argument("exposure", default="")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), default=Path("card.html"), show_default=True)
def card(exposure: str, file: Path) -> None:
    """Save the model card of an EXPOSURE's champion."""
    from orchestration.commands import models

    models.card(exposure, file)


@tract.command()
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True)
def report(file: Path) -> None:
    """Save one page of all models: who serves, how wrong, drift, the last publications; cards beside it."""
    from orchestration.commands import models

    models.report(file)


@tract.command()
@click.argument("version")
@click.option("--exposure", default="", help=EXPOSURE_HELP)
@click.option("--reason", required=True, help="Why; kept in lake.ml.promotions.")
def promote(version: str, exposure: str, reason: str) -> None:
    """Make a VERSION the champion; the newest predictions follow in the same commit."""
    from orchestration.commands import models

    models.promote(exposure, version, reason)


@tract.command()
@click.option("--exposure", default="", help=EXPOSURE_HELP)
@click.option("--reason", required=True, help="Why; kept in lake.ml.promotions.")
def rollback(exposure: str, reason: str) -> None:
    """Make the champion before this one the champion again."""
    from orchestration.commands import models

    models.rollback(exposure, reason)


@tract.command()
@click.argument("exposure", default="")
@click.option("--yes", is_flag=True, help="Sign without asking.")
def sign(exposure: str, yes: bool) -> None:
    """Sign an EXPOSURE's versions that carry no signature of this home's key.

    Those of an earlier release, or of a lake that was restored without its key. Their files are loaded from then on,
    and loading one runs what it holds: sign what you trust.
    """
    from orchestration.commands import models

    models.sign(exposure, yes)


@tract.command()
@click.argument("exposure", default="")
def retry(exposure: str) -> None:
    """Try the newest publication once more for an EXPOSURE that was left as failed.

    Dagster's job learn, started by hand, does the same, and builds what reads the predictions.
    """
    from orchestration.commands import models

    models.retry(exposure)


@tract.command()
@click.argument("publication")
@click.option("--exposure", default="", help=EXPOSURE_HELP)
def replay(publication: str, exposure: str) -> None:
    """Repeat what an exposure made of a PUBLICATION, bit for bit; exit code 1 where it comes out otherwise."""
    from orchestration.commands import models

    models.replay(exposure, publication)


@tract.command()
@click.option("--exposure", default="", help=EXPOSURE_HELP)
def search(exposure: str) -> None:
    """Search better recipes within the candidates' budgets, and let the best challenge the champion."""
    from orchestration.commands import models

    models.search(exposure)


@tract.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def backup(directory: Path) -> None:
    """Write the lake into a DIRECTORY: catalog and objects of one moment, whatever runs meanwhile; no secrets."""
    from orchestration.commands import backups

    backups.backup(directory)


@tract.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore(directory: Path) -> None:
    """Make the lake of a DIRECTORY where the secrets lead: a bucket and a database that are empty."""
    from orchestration.commands import backups

    backups.restore(directory)


@tract.command()
def schema() -> None:
    """Print the JSON Schema of exposures, by which editors complete and check them."""
    from orchestration.commands import schema

    click.echo(schema.text(), nl=False)


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ shows a question mark
    try:
        tract.main(prog_name="tract", standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, click.UsageError):
            error.show()
        else:
            from rich.console import Console

            console = Console(stderr=True, highlight=False, emoji=False)
            console.print(error.format_message(), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit("Nothing was written.")
