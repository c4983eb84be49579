"""A search, as a person or a night asks for it: try recipes, and let the best challenge the champion."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import numpy as np

from ml import lake
from ml.code import code_version
from ml.errors import TractError
from ml.lake import locks as catalog
from ml.learning import competition as learning
from ml.learning import trials
from ml.learning.trials import Trial
from ml.progress import Say, Stopwatch
from ml.promotion import serve
from ml.records import publications as ledger
from ml.records import versions as registry
from ml.records.publications import Publication
from ml.spec import CandidateSpec, Exposure

# Folds of the search are dealt by another seed than those by which its result is judged.
ANOTHER = 1


class SearchError(TractError):
    """There is nothing to search, or nothing to search in; the message says what to write or to do first."""


@dataclass(frozen=True)
class Search:
    """What came of it.

    Attributes:
        recipes: The best found of each candidate.
        trials: By candidate, all that were tried.
        promoted_id: The version that serves from now on; None when the champion stays.
        reason: The gate's, with its numbers.
    """

    recipes: tuple[CandidateSpec, ...]
    trials: dict[str, list[Trial]]
    promoted_id: str | None
    reason: str


def search(exposure: Exposure, *, by: str = "search", say: Say = print) -> Search:
    """Search the spaces of the exposure's candidates on the newest consumed publication.

    What is found is judged on the spec's folds and challenges the champion's recipe; if it wins, version, promotion and
    the predictions of the publication are one commit with the trials. It competes in later consumptions as the
    candidate that it was found for, until that candidate is changed in the spec.

    Raises:
        SearchError: No candidate has a search space, or no publication was consumed yet.
        RowsError, EstimatorError, ParityError: As `learning.learn`; nothing was written.
        LakeUnavailableError: The lake is not up.
    """
    searched = [recipe for recipe in exposure.spec.recipes if recipe.search]
    if not searched:
        raise SearchError(
            f"Exposure {exposure.name}: no candidate in meta.ml.candidates has `search`. Give one a "
            "`search: {space: {parameter: [values] or {low: …, high: …}}, trials: …, seconds: …}`."
        )
    with catalog.lock(catalog.consuming(exposure.name), say=say) as confirm, lake.connect() as con:
        publication, champion = ledger.newest_consumed(con, exposure), registry.champion(con, exposure.name)
        if publication is None or champion is None:
            raise SearchError(
                f"Exposure {exposure.name} has no champion to challenge yet: build {exposure.relation}, and let it be "
                "consumed first."
            )
        watch, spec = Stopwatch(say), exposure.spec
        training = learning.read(con, exposure, publication, watch)
        groups = training.blocks if spec.split == "group" else None
        target = np.asarray(training.target, np.float64)
        tried = {
            recipe.name: trials.search(recipe, training.features, target, groups, spec.seed + ANOTHER, say)
            for recipe in searched
        }
        found = tuple(trials.best(recipe, tried[recipe.name]) for recipe in searched)
        watch.lap("search", "found " + "; ".join(f"{recipe.name}: {recipe.found}" for recipe in found))
        judged_as = _judged_as(publication, exposure, found)
        defending = registry.defending(con, exposure, champion, publication)
        learned = learning.compete(con, training, found, judged_as, defending, watch)
        wins = learned.verdict.promoted and not learned.refreshed
        with lake.transaction(con, by, f"{exposure.name} {publication.publication_id} searched", confirm):
            _record(con, exposure, publication, tried)
            if wins:
                # after a rollback the same may be found again, and is there already
                if registry.version(con, exposure.name, learned.version.version_id) is None:
                    registry.record(con, exposure, publication, learned.version, learned.judgements)
                decision = learned.verdict.reason
                serve(con, exposure, publication, learned.version, learned.estimator, by=by, reason=decision, say=say)
    reason = learned.verdict.reason if wins else f"the champion stays: {learned.verdict.reason}"
    watch.lap("commit", reason)
    return Search(found, tried, learned.version.version_id if wins else None, reason)


def _judged_as(publication: Publication, exposure: Exposure, found: tuple[CandidateSpec, ...]) -> str:
    """As `Publication.judged_as`, and what was found: rows, spec and code alone do not say it."""
    said = [publication.judged_as(exposure, code_version()), *(json.dumps(recipe.found) for recipe in found)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _record(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, tried: dict[str, list[Trial]]
) -> None:
    now = datetime.now(UTC)
    con.executemany(
        "insert into lake.ml.trials values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [
                exposure.name,
                now,
                publication.publication_id,
                candidate,
                trial.number,
                json.dumps(trial.parameters),
                trial.rmse,
                trial.folds,
                trial.seconds,
            ]
            for candidate, done in tried.items()
            for trial in done
        ],
    )
