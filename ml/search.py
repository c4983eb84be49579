"""A search, as a person or a night asks for it: try recipes, and let the best challenge the champion."""

import hashlib
import json
from dataclasses import dataclass

import pandas as pd

from ml import lake, memory
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake import locks
from ml.learning import competition, periods, trials
from ml.learning.fits import EstimatorError
from ml.learning.trials import Fold, Trial
from ml.progress import Say, Stopwatch
from ml.promotion import serve
from ml.records import champions, findings, migrations, tables, versions
from ml.records.publications import Publication
from ml.spec import CandidateSpec

# Added to the spec's seed: the folds of the search differ from those that judge its result.
SEED_STEP = 1


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
        SearchError: No candidate has a search space, none can be fitted, or no publication was consumed yet.
        RowsError, EstimatorError, ParityError: As `learning.learn`; nothing was written.
        TableError: Its table of predictions was made for something else; nothing was written.
        MemoryRanOutError: Memory ran out; nothing was written.
        LakeUnavailableError: The lake is not up.
    """
    searched = [recipe for recipe in exposure.spec.recipes if recipe.search]
    if not searched:
        raise SearchError(
            f"Exposure {exposure.name}: no candidate in meta.ml.candidates has `search`. Give one a "
            "`search: {space: {parameter: [values] or {low: …, high: …}}, trials: …, seconds: …}`."
        )
    with (
        locks.lock(locks.consuming(exposure.name), say=say) as confirm,
        lake.connect() as con,
        memory.enough(con, exposure),
    ):
        migrations.migrate(con, [exposure], say)
        tables.check(con, exposure)
        publication = champions.newest_predicted(con, exposure)
        standing = champions.standing(con, exposure, publication) if publication else None
        if publication is None or standing is None or standing.champion is None:
            raise SearchError(
                f"Exposure {exposure.name} has no champion to challenge yet: build {exposure.relation}, and let it be "
                "consumed first."
            )
        watch, spec = Stopwatch(say), exposure.spec
        training = competition.read(con, exposure, publication, watch)
        groups = training.blocks if spec.split == "group" else None
        question = trials.Question.of(training)
        dealt: list[Fold] = []
        if spec.split == "time" and spec.time:
            backtest = spec.backtest.model_copy(update={"folds": min(trials.FOLDS, spec.backtest.folds)})
            dealt = trials.folds_by_time(training.times, periods.cut(con, training.table, spec.time, backtest))
        tried: dict[str, list[Trial]] = {}
        failed: list[str] = []
        for recipe in searched:
            try:
                tried[recipe.name] = trials.search(
                    recipe, training.features, question, groups, spec.seed + SEED_STEP, say, training.encoding, dealt
                )
            except EstimatorError as error:  # keeps no other from being searched
                failed.append(str(error))
                say(f"A candidate is not searched: {error}")
        if not tried:
            raise SearchError(f"Exposure {exposure.name} has no candidate that can be searched: {' '.join(failed)}")
        found = tuple(trials.best(recipe, tried[recipe.name]) for recipe in searched if recipe.name in tried)
        watch.lap("search", "found " + "; ".join(f"{recipe.name}: {recipe.found}" for recipe in found))
        input_hash = _input_hash(publication, exposure, found)
        learned = competition.compete(con, training, found, input_hash, standing.defender, watch)
        wins = learned.verdict.promoted and not learned.refreshed
        with lake.transaction(con, by, f"{exposure.name} {publication.publication_id} searched", confirm):
            findings.record_trials(con, exposure, publication, _rows(tried, exposure.metric))
            if wins:
                # after a rollback the same may be found again, and is there already
                if versions.version(con, exposure.name, learned.version.version_id) is None:
                    metrics, heldout = learned.metrics, learned.judgement.heldout
                    versions.record(con, exposure, publication, learned.version, learned.rows, metrics, heldout)
                decision = learned.verdict.reason
                serve(con, exposure, publication, learned.version, learned.estimator, by=by, reason=decision, say=say)
    reason = learned.verdict.reason if wins else f"the champion stays: {learned.verdict.reason}"
    watch.lap("commit", reason)
    return Search(found, tried, learned.version.version_id if wins else None, reason)


def _input_hash(publication: Publication, exposure: Exposure, found: tuple[CandidateSpec, ...]) -> str:
    """As `Publication.input_hash`, and what was found: rows, spec and code alone do not say it."""
    inputs = [publication.input_hash(exposure), *(json.dumps(recipe.found) for recipe in found)]
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


def _rows(tried: dict[str, list[Trial]], metric: str) -> pd.DataFrame:
    """As rows of ml.trials."""
    return pd.DataFrame(
        [
            {
                "candidate": candidate,
                "trial": trial.number,
                "parameters": json.dumps(trial.parameters),
                "metric": metric,
                "loss": trial.loss,
                "folds": trial.folds,
                "seconds": trial.seconds,
            }
            for candidate, done in tried.items()
            for trial in done
        ]
    )
