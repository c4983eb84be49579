"""From a published snapshot to a version and the gate's verdict on it: read, judge, choose, fit, save."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from ml.exposures import Exposure
from ml.lake import artifacts
from ml.learning import candidates, engines, gate, judging, notes, training_set
from ml.learning.candidates import Candidate, Fitted
from ml.learning.fits import EstimatorError
from ml.learning.gate import Verdict
from ml.learning.judgement import ClassJudgement, Judged
from ml.learning.training_set import TrainingSet
from ml.linear import predict_sql as linear_sql
from ml.linear import ridge
from ml.progress import Stopwatch
from ml.records.champions import Champion
from ml.records.publications import Publication
from ml.records.versions import Version, version_id
from ml.spec import MEAN, CandidateSpec


@dataclass(frozen=True)
class Learned:
    """A version fitted and judged.

    Attributes:
        judgements: Of every candidate that is left, by name.
        failed: Why each of the others cannot be built or fitted, or does not predict, by name.
        rows: How many it learned from.
        refreshed: Whether the version was made by the champion's recipe.
    """

    version: Version
    estimator: Any
    judgements: Mapping[str, Judged]
    failed: Mapping[str, str]
    verdict: Verdict
    rows: int
    refreshed: bool

    @property
    def judgement(self) -> Judged:
        """Of the version's own recipe."""
        return self.judgements[self.version.candidate]

    @property
    def metrics(self) -> pd.DataFrame:
        """Of all that competed, and once of the mean predictor, which is the same beside each."""
        return _together(self.judgements)


def _together(judgements: Mapping[str, Judged]) -> pd.DataFrame:
    first, *others = [judgement.metrics for judgement in judgements.values()]
    return pd.concat([first, *(other[other["candidate"] != MEAN] for other in others)], ignore_index=True)


def learn(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    input_hash: str,
    champion: Champion | None,
    watch: Stopwatch,
) -> Learned:
    """Judge every candidate on the same folds, let the gate choose, fit the chosen recipe on everything, and save it.

    They are judged by the spec's split, by which the gate decides; by the others, later (`judge_later`). A candidate
    whose search found the champion competes with the champion's parameters. One that cannot be built or fitted, or does
    not predict, keeps no other from competing.

    Raises:
        RowsError: The published rows cannot be learned from.
        EstimatorError: No candidate is left; the message names each with its reason.
        ParityError: The predictions as SQL are not those of the estimator.
    """
    training = read(con, exposure, publication, watch)
    return compete(con, training, _recipes(exposure, champion), input_hash, champion, watch, [exposure.spec.split])


def judge_later(
    con: duckdb.DuckDBPyConnection,
    exposure: Exposure,
    publication: Publication,
    champion: Champion | None,
    version: Version,
    names: Collection[str],
    splits: Sequence[str],
    watch: Stopwatch,
) -> "tuple[pd.DataFrame, pd.DataFrame | pa.Table] | None":
    """Judge what competed for a version by further splits: the metrics of all, and the version's held-out predictions.

    None where the version's own recipe fails there.

    Args:
        champion: As in `learn`, when the version was learned.
        names: Of the candidates that were judged then.

    Raises:
        RowsError: As `learn`.
    """
    training = read(con, exposure, publication, watch)
    asked, _ = _asked(exposure, _recipes(exposure, champion), champion)
    judgements: dict[str, Judged] = {}
    for name in (name for name in asked if name in names):
        try:
            judgements[name] = judging.judge(candidates.build(asked[name], con, training, watch.say), training, splits)
        except EstimatorError as error:
            watch.say(f"A candidate is not judged by {' and '.join(splits)} folds: {error}")
    watch.lap("judge", f"judged {', '.join(judgements)} on {exposure.spec.judged_folds} {' and '.join(splits)} folds")
    ours = judgements.get(version.candidate)
    return (_together(judgements), ours.heldout) if ours else None


def _recipes(exposure: Exposure, champion: Champion | None) -> list[CandidateSpec]:
    return [
        champion.recipe if champion and recipe.covers(champion.recipe) else recipe for recipe in exposure.spec.recipes
    ]


def read(con: duckdb.DuckDBPyConnection, exposure: Exposure, publication: Publication, watch: Stopwatch) -> TrainingSet:
    """The training set of a publication; its size is said.

    Raises:
        RowsError: As `learn`.
    """
    engine = engines.of(con, exposure, publication)
    training = training_set.read(con, exposure, publication, watch.say, engine)
    rows, sampled = training.whole.n, len(training.sample)
    part = "" if sampled == rows else f", and a sample of {sampled:,} to judge by"
    watch.lap("read", f"read {rows:,} rows with {len(exposure.features)} features{part}")
    for note in notes.of_rows(training):
        watch.say(note)
    return training


def compete(
    con: duckdb.DuckDBPyConnection,
    training: TrainingSet,
    recipes: Sequence[CandidateSpec],
    input_hash: str,
    champion: Champion | None,
    watch: Stopwatch,
    splits: Sequence[str] = (),
) -> Learned:
    """Judge recipes and the champion's beside them, choose, fit and save.

    Args:
        splits: As in `judging.judge`; the spec's own among them.

    Raises:
        EstimatorError, ParityError: As `learn`.
    """
    exposure = training.exposure
    spec, judged = exposure.spec, splits or exposure.spec.splits
    asked, defender = _asked(exposure, recipes, champion)
    competing: dict[str, Candidate] = {}
    judgements: dict[str, Judged] = {}
    failed: dict[str, str] = {}
    for name, recipe in asked.items():
        try:
            competing[name] = candidates.build(recipe, con, training, watch.say, defender in (None, name))
            judgements[name] = judging.judge(competing[name], training, judged)
        except EstimatorError as error:
            failed[name] = _told(error, name == defender, watch)
    if defender not in competing:
        defender = None  # what cannot be imported cannot serve either: whoever is better than the mean may
    watch.lap("judge", f"judged {', '.join(judgements)} on {spec.judged_folds} {' and '.join(judged)} folds")
    fitted = None
    while judgements and fitted is None:
        chosen, verdict = _choose(judgements, defender, champion, training)
        try:
            fitted = competing[chosen].fit()
        except EstimatorError as error:
            failed[chosen] = _told(error, chosen == defender, watch)
            del judgements[chosen]
    if fitted is None:
        raise EstimatorError(
            f"Exposure {exposure.name} has no candidate that can be learned: {' '.join(failed.values())}"
        )
    judgement = judgements[chosen]
    if isinstance(judgement, ClassJudgement):
        rows = training.served_sample[list(exposure.features)]
        assert judgement.classification is not None, "the gate's split was judged"
        calibrated = judgement.classification.calibration.around(fitted.estimator, rows)
        fitted = replace(fitted, estimator=calibrated)
    linear_sql.check_parity(con, training.sample, fitted.estimator, exposure.features)
    watch.lap("fit", f"fitted {chosen}: {', '.join(f'{name} {value}' for name, value in fitted.parameters.items())}")
    for note in fitted.notes:
        watch.say(note)
    version = _saved(con, training, asked[chosen], fitted, judgement, failed, input_hash)
    watch.lap("save", f"saved version {version.version_id}")
    return Learned(version, fitted.estimator, judgements, failed, verdict, training.served.n, chosen == defender)


def _told(error: EstimatorError, defends: bool, watch: Stopwatch) -> str:
    """Why a candidate is out, in the run's log too."""
    who = "The champion's recipe" if defends else "A candidate"
    watch.say(f"{who} competes no more: {error}")
    return str(error)


def _asked(
    exposure: Exposure, recipes: Sequence[CandidateSpec], champion: Champion | None
) -> tuple[dict[str, CandidateSpec], str | None]:
    """What competes, by name: the recipes, and the champion's beside them; and the name of the champion's."""
    asked = {recipe.name: recipe for recipe in recipes}
    defender = _defender(asked, champion)
    if defender and champion:
        path = champion.recipe.path(exposure.task)
        asked.setdefault(defender, champion.recipe.model_copy(update={"name": defender, "estimator": path}))
    return asked, defender


def _defender(asked: Mapping[str, CandidateSpec], champion: Champion | None) -> str | None:
    """The name under which the champion's recipe competes: its own, unless that now means another recipe."""
    if champion is None:
        return None
    name = champion.recipe.name
    same = name not in asked or (asked[name].covers(champion.recipe) and asked[name].found == champion.recipe.found)
    return name if same else f"{name}_before"


def _choose(
    judgements: Mapping[str, Judged], defender: str | None, champion: Champion | None, training: TrainingSet
) -> tuple[str, Verdict]:
    """The recipe that becomes a version, and the verdict on it."""
    exposure = training.exposure
    best = min(judgements, key=lambda name: judgements[name].loss(exposure.spec.split, exposure.metric))
    if defender is None or champion is None:
        return best, gate.first(judgements[best], exposure)
    if defender not in judgements:
        return best, gate.succession(judgements[best], champion.loss, exposure)
    lost = ""
    if best != defender:
        split = exposure.spec.split
        blocks, weights = training.judged_blocks(split), training.judged_weights(split)
        verdict = gate.challenge(judgements[best], judgements[defender], blocks, exposure, weights)
        if verdict.promoted:
            return best, verdict
        lost = f"; {verdict.reason}"
    verdict = gate.refresh(judgements[defender], champion.loss, exposure)
    return defender, Verdict(verdict.promoted, verdict.reason + lost)


def _saved(
    con: duckdb.DuckDBPyConnection,
    training: TrainingSet,
    recipe: CandidateSpec,
    fitted: Fitted,
    judgement: Judged,
    failed: Mapping[str, str],
    input_hash: str,
) -> Version:
    scaler = ridge.fit_moments(training.served, 1.0, training.terms)[-2]
    names = [term.name for term in training.terms]
    return Version(
        version_id=version_id(input_hash, judgement.candidate),
        candidate=judgement.candidate,
        features=training.exposure.features,
        parameters={
            **fitted.parameters,
            **({} if training.plain else {"columns": training.exposure.kinds}),
            **judgement.parameters,
            "recipe": recipe.model_dump(),
            "notes": [*notes.of_rows(training), *fitted.notes],
            "failed": dict(failed),
            **({"likely_leaks": training.likely_leaks} if training.likely_leaks else {}),
            **({"engine": engines.SPARK} if training.engine else {}),
        },
        artifact=artifacts.save(con, fitted.estimator, "model"),
        scaler=artifacts.save(con, [dict(zip(names, scaler.mean_.tolist(), strict=True)), scaler], "scaler"),
    )
