"""How a lake of an earlier release becomes one of this release: numbered steps, each applied once.

A lake is brought up to date by the first build or consumption that needs it, under the build lock, and keeps in
ops.migrations what was done. A new step goes to the end of `MIGRATIONS`; one that a lake has been through never
changes.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import duckdb

from ml import lake
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake import locks
from ml.lake.sql import quoted, text
from ml.progress import Say
from ml.records import tables

LEDGER = "ops.migrations"
# Any table that stood in the first lakes: with it and without a ledger, a lake is older than the first migration.
FIRST = "ops.publications"


class LakeVersionError(TractError):
    """The lake and this code are of two releases; the message says which is older, and what to do."""


@dataclass(frozen=True)
class Migration:
    """A step.

    Attributes:
        what: What changes, for a person who reads ops.migrations.
        statements: SQL, given the tables and views of `ops` and `ml` that are there, as `ml.promotions`.
    """

    what: str
    statements: Callable[[Collection[str]], list[str]]


def _rename(present: Collection[str]) -> list[str]:
    heldout = sorted(name for name in present if name.startswith("ml.heldout_"))
    return [
        "alter table lake.ops.consumptions rename column judged_as to input_hash",
        "alter table lake.ml.model_cards rename column told to source_hash",
        # of lakes from before intervals were held out
        *(
            f"alter table lake.ml.{quoted(name.removeprefix('ml.'))} add column if not exists {end} double"
            for name in heldout
            for end in ("lower", "upper")
        ),
        """
        update lake.ml.model_versions
        set spec = json_merge_patch(
            spec,
            json_object(
                'coverage', spec -> '$.level', 'limitations', spec -> '$.limits', 'map_columns', spec -> '$.map',
                'level', null, 'limits', null, 'map', null
            )
        )
        """,
    ]


def _making(table: str) -> list[str]:
    """The statement that makes a table of `tables.sql`, as `ml.scorings`, as it is today."""
    return [
        statement for statement in tables.statements([]) if f"create table if not exists lake.{table} (" in statement
    ]


def _scorings(present: Collection[str]) -> list[str]:
    """The scorings that the tables of predictions show."""
    predictions = sorted(name.removeprefix("ml.heldout_") for name in present if name.startswith("ml.heldout_"))
    return _making("ml.scorings") + [
        f"""
        insert into lake.ml.scorings by name
        select
            exposure, version_id, publication_id, publication_id as since_publication_id, count(*) as row_count,
            max(predicted_at) as scored_at
        from lake.ml.{quoted(name)}
        group by all
        """
        for name in predictions
        if f"ml.{name}" in present
    ]


def _complete(present: Collection[str]) -> list[str]:
    return [
        *_making("ops.completions"),
        """
        insert into lake.ops.completions by name
        select exposure, publication_id, 'measured in the same commit' as reason, run_id, consumed_at as completed_at
        from lake.ops.consumptions
        where input_hash is not null
        """,
    ]


def _classes(present: Collection[str]) -> list[str]:
    changes = {
        "ml.live_errors": [
            "alter column rmse drop not null",
            "alter column mae drop not null",
            "add column log_loss double",
            "add column brier_score double",
            "add column accuracy double",
        ],
        "ml.trials": ["rename column rmse to loss", "add column metric varchar default 'rmse'"],
        "ml.partial_dependence": ["add column class varchar"],
    }
    # a table that is not there yet is made as it is today
    return [f"alter table lake.{name} {change}" for name in changes if name in present for change in changes[name]]


MIGRATIONS = (
    Migration(
        "consumptions.judged_as is input_hash, model_cards.told is source_hash; of specs, level is coverage, limits is "
        "limitations and map is map_columns",
        _rename,
    ),
    Migration(
        "drift has new_levels and new_level_rows",
        lambda present: [
            f"alter table lake.ml.drift add column if not exists {column} bigint"
            for column in ("new_levels", "new_level_rows")
            if "ml.drift" in present
        ],
    ),
    Migration("scorings has a row for each version and publication that it predicted", _scorings),
    Migration(
        "model_versions.signature, without which a version's file is not loaded",
        lambda present: ["alter table lake.ml.model_versions add column if not exists signature varchar"],
    ),
    Migration("completions: what was judged before was measured in the same commit", _complete),
    Migration(
        "live_errors has metrics of classes, trials has loss and metric in the place of rmse, partial_dependence has "
        "class",
        _classes,
    ),
    Migration(
        "notices and deliveries: what people are told, and what came of it",
        lambda present: [*_making("ops.notices"), *_making("ops.deliveries")],
    ),
)
LATEST = len(MIGRATIONS)

# The tables and views of `ops` and `ml` that are there; none in a new lake.
PRESENT_SQL = """
    select schema_name || '.' || table_name from duckdb_tables()
    where database_name = 'lake' and schema_name in ('ops', 'ml')
    union all
    select schema_name || '.' || view_name from duckdb_views()
    where database_name = 'lake' and schema_name in ('ops', 'ml')
"""
APPLIED_SQL = f"select coalesce(max(migration), 0) from lake.{LEDGER}"


def statements(present: Collection[str], applied: int, exposures: Iterable[Exposure]) -> list[str]:
    """What makes a lake one of this release, or nothing new where it is; to be run in order under the build lock.

    Args:
        present: What `PRESENT_SQL` gives.
        applied: What `APPLIED_SQL` gives; 0 where there is no ledger.

    Raises:
        LakeVersionError: The lake is of a later release.
    """
    check(present, applied)
    made = tables.statements(exposures, present)
    if FIRST not in present:  # a new lake: the tables are made as they are today
        return [_at_once([*made, *(_recorded(number) for number in range(1, LATEST + 1))])]
    due = range(applied + 1, LATEST + 1)
    if not due:
        return made
    steps = [s for number in due for s in (*MIGRATIONS[number - 1].statements(present), _recorded(number))]
    return [_at_once([*_making(LEDGER), *steps]), *made]


def _at_once(steps: Iterable[str]) -> str:
    """Statements as one transaction: a build that is killed leaves the lake as it was, or up to date."""
    return ";\n".join(["begin transaction", *steps, "commit"])


def _recorded(number: int) -> str:
    what = MIGRATIONS[number - 1].what
    return (
        f"insert into lake.{LEDGER} by name select {number} as migration, {text(what)} as what, "
        f"{text(locks.this_process())} as migrated_by, now() as migrated_at"
    )


def check(present: Collection[str], applied: int) -> None:
    """See that the lake is not of a later release.

    Raises:
        LakeVersionError: It is.
    """
    if FIRST in present and applied > LATEST:
        raise LakeVersionError(
            f"The lake is of a later release: it has been through {applied} migrations, and this code knows {LATEST}. "
            "Nothing was written. Install the release that the others use (lake.ops.migrations says since when)."
        )


def state(con: duckdb.DuckDBPyConnection) -> tuple[set[str], int]:
    """The tables that are there, and how many migrations the lake has been through."""
    present = {row[0] for row in con.execute(PRESENT_SQL).fetchall()}
    if LEDGER not in present:
        return present, 0
    ((applied,),) = con.execute(APPLIED_SQL).fetchall()
    return present, int(applied)


def require(con: duckdb.DuckDBPyConnection) -> None:
    """See that this code can read the lake's ledgers; for those who only read.

    Raises:
        LakeVersionError: The lake is of a later or an earlier release.
    """
    present, applied = state(con)
    check(present, applied)
    if FIRST in present and applied < LATEST:
        raise LakeVersionError(
            f"The lake is of an earlier release: {LATEST - applied} migrations are due. `dbt build` applies them, and "
            "so does the next consumption; nothing is lost."
        )


def migrate(con: duckdb.DuckDBPyConnection, exposures: Iterable[Exposure], say: Say) -> None:
    """Bring the lake up to date if it is of an earlier release, under the build lock; nothing where nothing is due.

    Raises:
        LakeVersionError: It is of a later release; nothing was written.
    """
    present, applied = state(con)
    check(present, applied)
    if FIRST not in present or applied == LATEST:
        return
    with locks.lock("build", say=say) as confirm:
        present, applied = state(con)  # another process may have done it meanwhile
        if applied < LATEST:
            confirm()
            for statement in statements(present, applied, exposures):
                con.execute(statement)
            say(f"The lake was brought up to date: {'; '.join(step.what for step in MIGRATIONS[applied:])}.")


def entered() -> duckdb.DuckDBPyConnection:
    """A connection to a lake that this code can read.

    Raises:
        LakeUnavailableError: The lake is not up.
        LakeVersionError: As `require`.
    """
    con = lake.connect()
    try:
        require(con)
    except BaseException:
        con.close()
        raise
    return con
