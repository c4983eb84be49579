"""A consumption repeated from its published snapshot, on one thread, and held against what was committed."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ml import memory
from ml.errors import TractError
from ml.exposures import Exposure
from ml.identity import code_version
from ml.lake.sql import listed
from ml.learning.competition import learn
from ml.progress import Say, Stopwatch
from ml.records import champions, consumptions, migrations, predictions, publications, versions
from ml.records.publications import Publication
from ml.serving import scoring

# Numbers computed on several threads repeat to this relative difference; on one thread, bit for bit.
TOLERANCE = 1e-12


class ReplayError(TractError):
    """The run cannot be repeated; the message says what is missing or different."""


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        predictions: Of the version, as `predictions.comparable_sql` has them, in the order of the key.
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
        ReplayError: No publication is named, or it was not learned from, or by another spec or code than today's.
        LakeUnavailableError: The lake is not up.
    """
    with threadpool_limits(limits=1), migrations.entered() as con, memory.enough(con, exposure):
        con.execute("set threads = 1")
        if not publication_id:
            newest = champions.newest_predicted(con, exposure)
            which = f"the newest that was learned from is {newest.publication_id}" if newest else "there is none yet"
            raise ReplayError(f"Name the publication to repeat for {exposure.name}, as `publication_id`: {which}.")
        publication = publications.publication(con, publication_id)
        if publication is None:
            raise ReplayError(f"There is no publication {publication_id}: lake.ops.publications has those that are.")
        input_hash = publication.input_hash(exposure)
        consumption = consumptions.of(con, exposure.name, publication_id)
        if consumption is None or consumption["version_id"] is None:
            raise ReplayError(
                f"{publication_id} has no version of {exposure.name} to repeat: it is "
                f"{consumption['outcome'] if consumption else 'not consumed yet'}. "
                "Name one that was trained, refreshed or unchanged."
            )
        recorded = consumption["version_id"]
        if consumption["input_hash"] != input_hash:
            raise ReplayError(_why_other(con, exposure, recorded))
        _, trained_at = versions.origin(con, exposure.name, recorded)
        defender = champions.standing(con, exposure, publication, before=trained_at).defender
        learned = learn(con, exposure, publication, input_hash, defender, Stopwatch(say))
        if learned.version.version_id != recorded:
            raise ReplayError(_why_other(con, exposure, recorded))
        with scoring.predicted(con, exposure, publication, learned.version, learned.estimator, say) as rows:
            predicted = con.execute(
                f"select {predictions.comparable_sql(exposure)} from {rows} as predictions "
                f"order by {listed(exposure.spec.key_columns, of='predictions')}"
            ).df()
        committed = predictions.of_version(con, exposure, publication_id, recorded)
    difference = None if committed.empty else _largest_difference(predicted, committed, exposure)
    return Replay(publication, recorded, predicted, difference)


def _why_other(con: duckdb.DuckDBPyConnection, exposure: Exposure, recorded: str) -> str:
    version = versions.row(con, exposure.name, recorded)
    code, commit = version["code"], version["git_commit"]
    if code != code_version(exposure.estimators):
        where = f" (git commit {commit})" if commit else ""
        return f"Version {recorded} was made by other code{where}: check that commit out, install its lock, and replay."
    return f"Version {recorded} was made with another spec or contract than exposure {exposure.name} has today."


def _largest_difference(ours: pd.DataFrame, committed: pd.DataFrame, exposure: Exposure) -> float:
    key = list(exposure.spec.key_columns)
    if not ours[key].equals(committed[key]):
        return float("inf")
    if exposure.task == "classification":
        names = ["prediction", "prediction_set"]
        if not ours[names].equals(committed[names]):
            return float("inf")
        found, expected = (
            np.column_stack([rows["probability"], np.array(rows["probabilities"].to_list())])
            for rows in (ours, committed)
        )
    else:
        names = ["prediction", "lower", "upper"]
        found, expected = ours[names].to_numpy(), committed[names].to_numpy()
    scale = np.maximum(np.abs(expected), 1e-300)
    return float(np.max(np.abs(found - expected) / scale))
