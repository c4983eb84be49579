"""A consumption repeated from its published snapshot, on one thread, and held against what was committed."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml import lake
from ml.code import code_version
from ml.errors import TractError
from ml.learning.competition import learn
from ml.progress import Say, Stopwatch
from ml.records import publications as ledger
from ml.records import versions as registry
from ml.records.publications import Publication
from ml.serving import scoring
from ml.spec import Exposure

# Numbers computed on several threads repeat to this relative difference; on one thread, bit for bit.
TOLERANCE = 1e-12


class ReplayError(TractError):
    """The run cannot be repeated; the message says what is missing or different."""


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        predictions: key, prediction, lower, upper of the version, in the order of the key.
        largest_difference: Relative, between these predictions and the committed ones; None when the version never
            predicted this publication.
    """

    publication: Publication
    version_id: str
    predictions: pd.DataFrame
    largest_difference: float | None

    @property
    def holds(self) -> bool:
        """Whether the committed predictions were repeated."""
        return self.largest_difference is None or self.largest_difference <= TOLERANCE

    @property
    def sentence(self) -> str:
        """The result in words."""
        where = f"{self.publication.publication_id} gives version {self.version_id} again"
        if self.largest_difference is None:
            return f"{where}, which did not predict it"
        if self.largest_difference == 0:
            return f"{where}, and the same predictions, bit for bit"
        verdict = "within" if self.holds else "more than"
        return f"{where}; predictions differ by {self.largest_difference:.1e}, {verdict} {TOLERANCE:.0e}"


def replay(exposure: Exposure, publication_id: str, *, say: Say = print) -> Replay:
    """Learn and predict from a published snapshot again; nothing is added to the lake.

    Two replays give the same bits: DuckDB, BLAS and OpenMP are held to one thread.

    Raises:
        ReplayError: The publication was not learned from, or by another spec or code than today's.
        LakeUnavailableError: The lake is not up.
    """
    with threadpool_limits(limits=1), lake.connect() as con:
        con.execute("set threads = 1")
        publication = ledger.publication(con, publication_id)
        if publication is None:
            raise ReplayError(f"There is no publication {publication_id}: lake.ops.publications has those that are.")
        judged_as = publication.judged_as(exposure, code_version())
        recorded, recorded_as = _recorded(con, exposure, publication)
        if recorded_as != judged_as:
            raise ReplayError(_why_other(con, exposure, recorded))
        _, trained_at = registry.origin(con, exposure.name, recorded)
        champion = registry.champion(con, exposure.name, before=trained_at)
        defending = registry.defending(con, exposure, champion, publication)
        learned = learn(con, exposure, publication, judged_as, defending, Stopwatch(say))
        if learned.version.version_id != recorded:
            raise ReplayError(_why_other(con, exposure, recorded))
        with scoring.predicted(con, exposure, publication, learned.version, learned.estimator, say) as rows:
            predicted = con.execute(f'from {rows} order by "{exposure.spec.key}"').df()
        committed = _committed(con, exposure, publication, recorded)
    difference = None if committed is None else _largest_difference(predicted, committed, exposure)
    return Replay(publication, recorded, predicted, difference)


def _recorded(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication) -> tuple[str, str]:
    """The version that came of a publication, and what it was judged as."""
    row = con.execute(
        """
        select outcome, version_id, judged_as from lake.ops.consumptions where exposure = ? and publication_id = ?
        """,
        [exposure.name, publication.publication_id],
    ).fetchone()
    if row is None or row[1] is None:
        outcome = row[0] if row else "not consumed yet"
        raise ReplayError(
            f"{publication.publication_id} has no version of {exposure.name} to repeat: it is {outcome}. "
            "Name one that was trained, refreshed or unchanged."
        )
    return row[1], row[2]


def _why_other(con: duckdb.DuckDBPyConnection, exposure: Exposure, recorded: str) -> str:
    row = con.execute(
        "select code, git_commit from lake.ml.model_versions where exposure = ? and version_id = ?",
        [exposure.name, recorded],
    ).fetchone()
    assert row is not None, f"consumption without version {recorded}"
    code, commit = row
    if code != code_version():
        where = f" (git commit {commit})" if commit else ""
        return f"Version {recorded} was made by other code{where}: check that commit out, install its lock, and replay."
    return f"Version {recorded} was made with another spec or contract than exposure {exposure.name} has today."


def _committed(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, version_id: str
) -> pd.DataFrame | None:
    key = exposure.spec.key
    frame = con.execute(
        f"""
        select "{key}", prediction, lower, upper
        from lake.ml."{exposure.spec.predictions}"
        where exposure = ? and version_id = ? and publication_id = (
            select predicted_publication_id from lake.ops.consumptions where exposure = ? and publication_id = ?
        )
        order by "{key}"
        """,
        [exposure.name, version_id, exposure.name, publication.publication_id],
    ).df()
    return None if frame.empty else frame


def _largest_difference(ours: pd.DataFrame, committed: pd.DataFrame, exposure: Exposure) -> float:
    if not ours[exposure.spec.key].equals(committed[exposure.spec.key]):
        return float("inf")
    names = ["prediction", "lower", "upper"]
    found, expected = ours[names].to_numpy(), committed[names].to_numpy()
    scale = np.maximum(np.abs(expected), 1e-300)
    return float(np.max(np.abs(found - expected) / scale))
