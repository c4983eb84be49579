"""One of many that work on a lake at once, for some seconds: `python -m tests.faults.contender ROLE SECONDS MANIFEST`.

Prints what it did, as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ml import consumption, lake, promotion
from ml import search as searching
from ml.exposures import Exposure
from ml.learning import competition
from ml.maintenance import maintain
from ml.manifest import read_exposures
from ml.progress import Say
from ml.records import champions
from ml.serving import scoring
from ml.spec import CandidateSpec, SearchSpec

assert competition and scoring  # the imports that a consumption would wait for
BY = "a contender"
# A snapshot that it reads: what stands of predictions, and what they were made of. Each number is 0 in any committed
# state. A scoring is of one publication and one version, of all its rows.
TORN = """
    with standing as (
        from lake.ml.standing_predictions where exposure = $name
    ),

    predicted as (
        select predictions.*
        from lake.ml.predictions as predictions
        inner join standing
            on
                predictions.publication_id = standing.predicted_publication_id
                and predictions.version_id = standing.version_id
    ),

    published as (
        select publications.*
        from lake.ops.publications as publications
        inner join standing on publications.publication_id = standing.predicted_publication_id
    )

    select
        (select count(*) - count(distinct block_group_id) from predicted),
        (select count(*) from predicted) - (select coalesce(any_value(row_count), 0) from published),
        (select count(*) from predicted where not isfinite(prediction) or lower > upper),
        (
            select count(*) from lake.ml.champions as champions
            anti join lake.ml.model_versions as versions using (exposure, version_id)
        ),
        (
            select count(*) from lake.ml.champions as champions
            where champions.exposure = $name and champions.version_id not in (select version_id from standing)
        )
"""
# Of the features as they stand: how many rows, and a checksum of them.
CHECKSUM = """
    select count(*), cast(bit_xor(hash(features)) as varchar) from lake.features.housing_features as features
"""


def asked(manifest: Path) -> Exposure:
    """The example's exposure, with candidates that are fitted in a moment."""
    found = {exposure.name: exposure for exposure in read_exposures(json.loads(manifest.read_text()))}
    boosting = CandidateSpec(
        name="boosting",
        estimator="sklearn.ensemble.HistGradientBoostingRegressor",
        parameters={"max_iter": 10},
        search=SearchSpec(space={"max_iter": [5, 20]}, trials=2),
    )
    exposure = found["housing_value"]
    candidates = (CandidateSpec(name="ridge"), boosting)
    return replace(exposure, spec=exposure.spec.model_copy(update={"candidates": candidates, "slices": {}}))


def consume(exposure: Exposure, say: Say) -> str | None:
    """The publications that it consumed, or nothing."""
    consumed = consumption.consume(exposure, say=say)
    return consumed.publication.publication_id if consumed else None


def promote(exposure: Exposure, say: Say) -> str | None:
    """A version that does not serve serves then."""
    with lake.connect() as con:
        other = champions.champion_before(con, exposure.name)
    if other is None:
        return None
    try:
        return promotion.promote(exposure, other, by=BY, reason="to see who else is here", say=say).version_id
    except promotion.PromotionError as error:
        if "serves already" in str(error):  # a consumption was quicker
            return None
        raise


def search(exposure: Exposure, say: Say) -> str | None:
    """A search, of which the trials are kept whatever it finds."""
    return searching.search(exposure, by=BY, say=say).reason


def keep_small(exposure: Exposure, say: Say) -> str | None:
    """Maintenance."""
    return str(maintain([exposure], say=say).merged_files)


def read(exposure: Exposure, say: Say) -> str | None:
    """What it saw of the features' rows; says what was torn."""
    with lake.connect() as con:
        con.execute("begin")
        torn = con.execute(TORN, {"name": exposure.name}).fetchall()[0]
        ((rows, seen),) = con.execute(CHECKSUM).fetchall()
        con.execute("commit")
    assert not any(torn), f"torn: {torn}"
    return f"{rows} {seen}"


ROLES: dict[str, Callable[[Exposure, Say], str | None]] = {
    role.__name__: role for role in (consume, promote, search, keep_small, read)
}


def main(role: str, seconds: str, manifest: str) -> None:
    """Work until the time is up."""
    exposure, ends = asked(Path(manifest)), time.monotonic() + float(seconds)
    done: list[str] = []
    times = 0
    while time.monotonic() < ends:
        times += 1
        if found := ROLES[role](exposure, lambda told: None):
            done.append(found)
        else:
            time.sleep(0.2)
    print(json.dumps({"role": role, "times": times, "done": done}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
