"""Definitions that are older than the project: said by a check on what is learned from, and loaded anew.

Dagster reads the dbt project when it loads its definitions. What is added to the project afterwards, an exposure say,
is unknown to it until it loads them again: nobody else would ask it to.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache

import dagster as dg
import duckdb

from ml import lake
from ml.code import command
from ml.errors import TractError
from ml.records import publications
from orchestration import project
from orchestration.door import Door
from orchestration.findings import Finding, Report, unreported
from orchestration.stack import dagster, graphql, layout

INTERVAL_SECONDS = 20
CHECK = "definitions_are_current"
CURRENT = Finding(True, "Dagster has loaded the project as it is")
CHANGED = "The project has changed since Dagster loaded it"
# After a reload that was asked for and did not come: on a busy machine it takes minutes.
AGAIN_SECONDS = 600.0


def judge(loaded: str, reload: Callable[[], str]) -> Finding:
    """Whether definitions are of the project as it is; where they are not, they are loaded anew if they can be.

    Args:
        loaded: The project's identity when they were loaded.
        reload: Has them loaded anew, and says how that goes on.
    """
    try:
        identity = project.identity()
        if identity == loaded:
            return CURRENT
        if wrong := _wrong(identity):
            return Finding(False, f"{CHANGED}, and cannot be loaded as it is: {wrong}")
    except TractError as error:  # a file of settings that is no YAML
        return Finding(False, f"{CHANGED}, and cannot be loaded as it is: {error}")
    return Finding(False, f"{CHANGED}: {reload()}")


@lru_cache(maxsize=1)  # dbt takes 7 s of a core to say so, and nobody mends it between two looks
def _wrong(identity: str) -> str:
    """Why the project of this identity cannot be loaded: it would put an error in the place of what works."""
    try:
        project.exposures()
    except TractError as error:
        return str(error)
    return ""


class Reloading:
    """Asks the webserver to load the definitions anew, once for each state of the project."""

    def __init__(self) -> None:
        self.asked, self.at = "", 0.0

    def __call__(self) -> str:
        """Ask, without waiting: what asks is a process that will be replaced."""
        try:
            address = dagster.address(lake.home())
        except layout.StackError:  # it was started by other means
            return "reload the code location, on the page Deployment of Dagster's UI"
        identity = project.identity()
        if identity != self.asked or time.monotonic() - self.at > AGAIN_SECONDS:
            self.asked, self.at = identity, time.monotonic()
            threading.Thread(target=_reload, args=(address,), daemon=True).start()
        return "it is being loaded anew"


def _reload(address: str) -> None:
    with suppress(TractError):  # the next look sees what came of it
        graphql.reload(address)


def asset_check(features: dg.AssetKey) -> dg.AssetChecksDefinition:
    """The check, for running it by hand; the sensor below reports it by itself."""

    @dg.asset_check(asset=features, name=CHECK, description="Dagster has loaded the dbt project as it is.")
    def check() -> dg.AssetCheckResult:
        # this process has just loaded it: the one that is asked is the one that follows publications
        finding = judge(dagster.loaded(lake.home()), lambda: f"{command('ui')} loads it anew")
        return dg.AssetCheckResult(passed=finding.passed, description=finding.sentence)

    return check


def follow_project(loaded: str, features: Mapping[str, dg.AssetKey]) -> dg.SensorDefinition:
    """The sensor that has the definitions loaded anew when the project has changed, and reports the checks.

    Args:
        loaded: The project's identity when these definitions were loaded.
        features: The asset of each learned-from relation.
    """
    door, reloading = Door(), Reloading()

    @dg.sensor(
        name="follow_project",
        description="Has Dagster load the dbt project anew when it has changed, and says so on what is learned from.",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        target=None,
    )
    def follow(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        finding = judge(loaded, reloading)
        return door.tick(lambda con: tick(con, finding, features, context.cursor))

    return follow


def tick(
    con: duckdb.DuckDBPyConnection, finding: Finding, features: Mapping[str, dg.AssetKey], cursor: str | None
) -> dg.SensorResult:
    """What the sensor reports: the finding on each learned-from table, once, and anew of each publication.

    Dagster counts a check that is older than its asset's last materialization as not passed.
    """
    reports = {}
    for relation, key in features.items():
        state = f"{finding.passed} {publications.last_published(con, relation)} {finding.sentence}"
        reports[relation] = Report(key, CHECK, finding, state)
    events, told = unreported(cursor, reports)
    return dg.SensorResult(skip_reason=finding.sentence, asset_events=events, cursor=told)
