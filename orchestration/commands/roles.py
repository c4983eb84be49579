"""`tract roles`: the three roles as scripts, or made on the local servers, each with a home that enters the lake."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import click

from ml import lake
from ml.exposures import Exposure
from ml.lake import locks, signing
from ml.records import migrations, tables
from orchestration import project, stack
from orchestration.stack import extensions, layout, postgres, remote, s3, secrets
from orchestration.stack import roles as made
from orchestration.stack.roles import CONSUMER, Role


def show() -> None:
    """Print what makes the roles: two scripts for Postgres, a policy each for S3."""
    roles = made.roles(project.manifest())
    with lake.connect() as con:
        root = lake.root(con)
    click.echo("-- In the lake's database, as its owner; then give each role a password.")
    click.echo(made.catalog_sql(roles))
    click.echo("\n-- In Dagster's database, as its owner.")
    click.echo(made.dagster_sql())
    for role in roles:
        click.echo(f"\n-- S3: the policy of {role.name}.\n{made.s3_policy(role, root)}")


def apply() -> None:
    """Make them on the local servers.

    Raises:
        StackError: The servers are someone else's.
    """
    if remote.places(lake.home()) is not None:
        raise layout.StackError(
            "The servers are someone else's: who owns them runs the scripts that `tract roles` prints, and gives each "
            "role its S3 policy. Then `tract connect` with the credentials of a role makes its home."
        )
    stack.up(lake.home())
    roles = made.roles(project.manifest())
    for role, home in on_local_servers(lake.home(), roles, project.exposures()).items():
        click.echo(f"TRACT_HOME={home}  # {role}")


def on_local_servers(home: Path, roles: Sequence[Role], exposures: Sequence[Exposure]) -> dict[str, Path]:
    """Make the lake's tables and the roles; by kind the home of each, to be set as TRACT_HOME. Safe to repeat."""
    _make_tables(exposures)
    with layout.lock(home):
        file = home / "run" / "roles.json"
        known = layout.read(file) or {}
        for role in roles:
            fresh = {"password": token_hex(20), "key_id": token_hex(10), "secret": token_hex(20)}
            known.setdefault(role.kind, fresh)
        layout.write(file, known)
        passwords = {kind: said["password"] for kind, said in known.items()}
        postgres.execute(home, "lake", made.catalog_sql(roles, passwords))
        postgres.execute(home, "dagster", made.dagster_sql())
        owner = s3.address(home)
        commands = [
            command
            for role in roles
            for command in made.seaweed_commands(
                role, known[role.kind]["key_id"], known[role.kind]["secret"], owner.root
            )
        ]
        s3.configure(home, commands)
        return {role.kind: _home(home, role, known[role.kind]) for role in roles}


def _make_tables(exposures: Sequence[Exposure]) -> None:
    """Make or migrate what only the owner may."""
    with locks.lock("build") as confirm, lake.connect() as con:
        options = [name for (name,) in con.execute("select option_name from ducklake_options('lake')").fetchall()]
        confirm()
        due = migrations.statements(*migrations.state(con), exposures)
        for statement in [*tables.option_statements(options), *due]:
            con.execute(statement)


def _home(owner: Path, role: Role, known: dict[str, str]) -> Path:
    home = owner / "roles" / role.kind
    layout.prepare(home)
    extensions.install(home / "extensions")
    store = replace(s3.address(owner), key_id=known["key_id"], secret=known["secret"])
    catalog = replace(postgres.address(owner), user=role.name, password=known["password"])
    secrets.write(home / "secrets", home / "extensions", store, catalog)
    remote.remember(home, store, catalog)  # nobody starts servers of its own there
    if role.kind == CONSUMER:
        key = home / "secrets" / signing.file().name
        if not key.exists():
            key.touch(mode=0o600)
        key.write_text(signing.key())
    return home
