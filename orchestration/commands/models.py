"""`tract card | report | promote | rollback | retry | replay | search`: verbs of `ml` for a project's exposures."""

from datetime import UTC, datetime
from pathlib import Path

import click

from ml import lake
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake.locks import this_process
from orchestration import profile, project
from orchestration.project import exposure as named
from orchestration.project import exposures


class ReplayDiffersError(TractError):
    """A past run was repeated and came out otherwise; the message says by how much."""


class NothingFailedError(TractError):
    """A person asked for one more try, and the newest publication did not fail."""


class OtherTargetError(TractError):
    """A target is asked for by name and another would be meant; the message says which, and what to do."""


def changed(exposure_name: str) -> Exposure:
    """The exposure of that name, for who changes something about it.

    Raises:
        OtherTargetError: The environment asks for a target that the profile lacks: production's would be changed.
        ExposureError: As `orchestration.project.exposure`.
    """
    found, asked = profile.find(project.ROOT), profile.asked_target()
    if project.production_target() is not None and asked and asked != found.target:
        raise OtherTargetError(
            f"DBT_TARGET is {asked}, which the profile {found.name} in {found.directory / 'profiles.yml'} does not "
            f"have as a target that enters the lake: {found.target} would be changed in its place. Unset DBT_TARGET, "
            "or add that target."
        )
    return named(exposure_name)


def card(exposure_name: str, file: Path) -> None:
    """Save the card of an exposure's champion."""
    from ml.reports.card import saved

    with lake.connect() as con:
        file.write_bytes(saved(con, named(exposure_name).name))
    click.echo(f"Wrote {file.resolve()}")


def report(file: Path) -> None:
    """Save the report of the lake, and the champions' cards beside it."""
    from ml.records import migrations
    from ml.reports.card import CardError, saved
    from ml.reports.report import to_html

    asked, cards = exposures(), {}
    with migrations.entered() as con:
        for exposure in asked:
            beside = file.with_name(f"{file.stem}-{exposure.name}.html")
            try:
                beside.write_bytes(saved(con, exposure.name))
            except CardError as missing:  # there is no champion yet, or its run has not come to its card
                click.echo(str(missing))
            else:
                cards[exposure.name] = beside.name
        file.write_text(to_html(con, asked, cards, datetime.now(UTC)), encoding="utf-8")
    click.echo(f"Wrote {file.resolve()}")


def promote(exposure_name: str, version_id: str, reason: str) -> None:
    """Make a version the champion."""
    from ml.promotion import promote

    promote(changed(exposure_name), version_id, by=this_process(), reason=reason, say=click.echo)


def rollback(exposure_name: str, reason: str) -> None:
    """Make the champion before this one the champion again."""
    from ml.promotion import rollback

    rollback(changed(exposure_name), by=this_process(), reason=reason, say=click.echo)


def sign(exposure_name: str, yes: bool) -> None:
    """Sign the versions that this home's key did not."""
    from ml.vouching import sign

    exposure = changed(exposure_name)
    if not yes:
        click.confirm(f"Do you trust everyone who could write versions of {exposure.name} until now?", abort=True)
    signed = sign(exposure, by=this_process(), say=click.echo)
    click.echo(f"Signed {', '.join(signed)}." if signed else f"Every version of {exposure.name} was signed already.")


def retry(exposure_name: str) -> None:
    """Try the newest publication once more where it was left as failed.

    Raises:
        NothingFailedError: It was not.
    """
    from ml.completion import complete
    from ml.consumption import consume

    exposure = changed(exposure_name)
    if consume(exposure, retry=True, say=click.echo) is None:
        raise NothingFailedError(
            f"Exposure {exposure.name} has nothing to try again: the newest publication of {exposure.relation} did not "
            "fail. `tract status` says what came of it."
        )
    complete(exposure, say=click.echo)


def replay(exposure_name: str, publication_id: str) -> None:
    """Repeat what an exposure made of a publication.

    Raises:
        ReplayDiffersError: It came out otherwise.
    """
    from ml.replay import replay

    repeated = replay(named(exposure_name), publication_id, say=click.echo)
    if not repeated.holds:
        raise ReplayDiffersError(f"{repeated.sentence}.")
    click.echo(repeated.sentence)


def search(exposure_name: str) -> None:
    """Search better recipes for an exposure."""
    from ml.search import search

    found = search(changed(exposure_name), by=this_process(), say=click.echo)
    for recipe in found.recipes:
        click.echo(f"{recipe.name}: {recipe.found or 'nothing better than it is'}")
