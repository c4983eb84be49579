"""The model card: one HTML file per version that says what it is, how good, for what, and how to repeat it.

After Mitchell et al., Model Cards for Model Reporting, 2019. `tract card` saves the champion's.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from ml import identity, lake, memory
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake import locks
from ml.lake.sql import text
from ml.metrics import GAINS
from ml.metrics import name as metric_name
from ml.numbers import figure
from ml.progress import Say
from ml.records import champions, findings, migrations, versions
from ml.records.versions import Version
from ml.reports import html
from ml.spec import MEAN, key_columns

if TYPE_CHECKING:  # pictures take a second to import, which those who find nothing to write do not wait for
    import pandas as pd

    from ml.reports.drawing import Picture
    from ml.reports.explanation import Explanation
    from ml.reports.facts import Facts

TEMPLATE = "card.html.jinja"
# As columns of the card's tables: the metric, its heading, the digits of it (None: a share of rows, in percent).
Columns = dict[str, tuple[str, int | None]]
COLUMNS: Columns = {
    "rmse": ("RMSE", 0),
    "mae": ("mean absolute error", 0),
    "median_absolute_error": ("median absolute error", 0),
    "p90_absolute_error": ("90% of errors below", 0),
    "r2": ("R²", 3),
    "coverage": ("in the interval", None),
    "mean_width": ("interval's width", 0),
}
CLASS_COLUMNS: Columns = {
    "log_loss": ("log loss", 4),
    "brier_score": ("Brier score", 4),
    "roc_auc": ("ROC AUC", 3),
    "average_precision": ("average precision", 3),
    "accuracy": ("accuracy", None),
    "ece": ("calibration error", 3),
    "coverage": ("in the set", None),
    "mean_set_size": ("classes in the set", 2),
}


class CardError(TractError):
    """There is no card to show; the message says why and what writes it."""


@dataclass(frozen=True)
class Card:
    """A card on S3.

    Attributes:
        pictures: Those that this call drew for it; none when the card was there already.
    """

    version_id: str
    uri: str
    sha256: str
    pictures: "tuple[Picture, ...]" = ()

    @property
    def written(self) -> bool:
        """Whether this call wrote it."""
        return bool(self.pictures)


def explain(exposure: Exposure, *, say: Say = print) -> tuple[Card, ...]:
    """Explain the newest version and the champion, and write their cards, if that is not done.

    The newest version is explained whether it passed the gate or not: its card says why it was refused. The card of the
    champion before this one is written again, and says that it serves no more. A second call adds nothing. Each version
    has its own transaction, under a lock that consumptions do not wait for.

    Returns:
        The newest version's card first; none before the first version.

    Raises:
        LakeUnavailableError: The lake is not up.
        LockLostError: Postgres ended the lock's connection before the commit; nothing was written.
        ArtifactError, RowsError: A version cannot be explained; what was written before stays.
    """
    with (
        locks.lock(f"explain {exposure.name}", say=say) as confirm,
        lake.connect() as con,
        memory.enough(con, exposure),
    ):
        migrations.migrate(con, [exposure], say)
        cards = []
        for version, unexplained in _due(con, exposure):
            explanation = _explained(con, exposure, version, say) if unexplained else None
            message = f"{exposure.name} explain {version.version_id}"
            if explanation:
                with lake.transaction(con, "ml", message, confirm):
                    findings.record_explanation(con, exposure, version, explanation.importance, explanation.dependence)
            from ml.reports import facts as version_facts

            facts = version_facts.read(con, exposure, version.version_id)
            source_hash = hashlib.sha256(f"{facts.digest()} {_source()} {_drawing()}".encode()).hexdigest()
            last = findings.last_card(con, exposure.name, version.version_id)
            if last and last[0] == source_hash:
                cards.append(Card(version.version_id, last[1], last[2]))
                continue
            drawn = draw(facts, version_facts.heldout(con, facts))
            uri, sha256 = _save(con, exposure, version, to_html(facts, drawn))
            with lake.transaction(con, "ml", f"{exposure.name} card {version.version_id}", confirm):
                findings.record_card(con, exposure, version, source_hash, uri, sha256)
            say(f"{exposure.name}: the card of {version.version_id} is {uri}")
            cards.append(Card(version.version_id, uri, sha256, tuple(drawn)))
        return tuple(cards)


def _due(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> list[tuple[Version, bool]]:
    """The versions whose cards must be true, the newest first, and whether they must be explained before."""
    due = [
        (versions.version(con, exposure.name, name), unexplained)
        for name, unexplained in findings.cards_due(con, exposure.name)
    ]
    return [(version, unexplained) for version, unexplained in due if version]


def _explained(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, say: Say) -> "Explanation":
    from ml.reports import explanation

    say(f"{exposure.name}: explains {version.version_id}, which is fitted once more for that")
    explained = explanation.explain(con, exposure, version, say)
    most = explained.importance.sort_values("importance_mean").iloc[-1]
    say(
        f"{exposure.name}: {version.version_id} relies most on {most['feature']}: shuffled, it "
        f"{'takes' if exposure.metric in GAINS else 'adds'} {figure(most['importance_mean'])} "
        f"{'from' if exposure.metric in GAINS else 'to'} the {metric_name(exposure.metric)} of "
        f"{most['heldout_rows']:,} held-out rows"
    )
    return explained


def saved(con: duckdb.DuckDBPyConnection, exposure_name: str) -> bytes:
    """The card of the exposure's champion, as it is on S3.

    Raises:
        CardError: There is no champion, or its card is not written yet.
        ArtifactError: The file is missing or was changed.
    """
    from ml.lake import artifacts

    champion = champions.champion(con, exposure_name)
    if champion is None:
        raise CardError(f"{exposure_name} has no champion: build its features, and its first version is trained.")
    last = findings.last_card(con, exposure_name, champion.version_id)
    if last is None:
        raise CardError(
            f"The champion of {exposure_name}, {champion.version_id}, has no card yet: its run writes it, or the "
            f"asset {exposure_name}/model_card when it is materialized."
        )
    return artifacts.read(con, artifacts.Artifact(last[1], last[2]))


def _save(con: duckdb.DuckDBPyConnection, exposure: Exposure, version: Version, html: str) -> tuple[str, str]:
    content = html.encode()
    uri = f"{lake.root(con)}/cards/{exposure.name}/{version.version_id}.html"
    con.execute(f"copy (select $1::blob) to {text(uri)} (format blob)", [content])
    return uri, hashlib.sha256(content).hexdigest()


def draw(facts: "Facts", heldout: "pd.DataFrame") -> "list[Picture]":
    """All pictures of a version; without a map where the spec names none, or drift where none was measured.

    Args:
        heldout: As `version_facts.heldout` gives it.
    """
    pictures = html.pictures()
    spec, candidate, split, metric = facts.exposure.spec, facts.candidate, facts.split, facts.metric
    drawn = _of_classes(facts, heldout) if facts.classes else _of_numbers(facts, heldout)
    drawn.append(pictures.error_by_slice(facts.metrics, candidate, split, spec.unit, metric))
    promised = "Sets hold the class" if facts.classes else "Intervals hold the value"
    drawn.append(pictures.coverage(facts.metrics, candidate, split, facts.coverage, promised))
    if not facts.importance.empty:
        drawn.append(pictures.importance(facts.importance, spec.unit, metric))
        curves = set(facts.dependence["feature"])
        if order := [name for name in facts.importance["feature"] if name in curves]:
            drawn.append(pictures.partial_dependence(facts.dependence, facts.target, spec.unit, order))
    if not facts.last_drift.empty:
        drawn.append(pictures.drift(facts.last_drift))
    return drawn


def _of_numbers(facts: "Facts", heldout: "pd.DataFrame") -> "list[Picture]":
    pictures, spec = html.pictures(), facts.exposure.spec
    drawn = [pictures.predicted_against_actual(heldout, facts.target, spec.unit)]
    if spec.map_columns and set(spec.map_columns).issubset(heldout.columns):
        drawn.append(pictures.residual_map(heldout, *spec.map_columns, spec.unit))
    return drawn


def _of_classes(facts: "Facts", heldout: "pd.DataFrame") -> "list[Picture]":
    pictures = html.class_pictures()
    return [
        pictures.roc(heldout, facts.classes, facts.positive),
        pictures.reliability(heldout, facts.classes, facts.positive),
        pictures.confusion(heldout, facts.classes),
    ]


def to_html(facts: "Facts", pictures: "Sequence[Picture]") -> str:
    """The card, one self-contained file; the same facts and pictures give the same text."""
    version, metrics = facts.version, facts.metrics
    made, columns = facts.made, CLASS_COLUMNS if facts.classes else COLUMNS
    judged = metrics[metrics["candidate"] == facts.candidate]
    splits = sorted(set(judged["split"]), key=lambda split: split != facts.split)
    return html.template(TEMPLATE).render(
        facts=facts,
        exposure=facts.exposure,
        version=version,
        spec=version["spec"],
        key=", ".join(key_columns(version["spec"]["key"])),
        publication=facts.publication,
        consumption=facts.consumption,
        estimator=made.recipe.estimator,
        parameters={**made.recipe.chosen, **made.chosen},
        notes=made.parameters.get("notes", []),
        failed=made.parameters.get("failed", {}),
        promotions=facts.promotions,
        metric=metric_name(facts.metric),
        calibration=made.classification["calibration"] if made.classification else None,
        headings=[heading for heading, _ in columns.values()],
        splits=[
            (split, _table(metrics[metrics["split"] == split], "candidate", facts.candidate, columns))
            for split in splits
        ],
        slices=_table(judged[judged["split"] == facts.split], "slice", "all", columns),
        rows=_count(judged, facts.split, "rows"),
        sampled_from=_count(judged, facts.split, "sampled_from"),
        drift=facts.last_drift.to_dict("records"),
        importance=facts.importance.to_dict("records"),
        averaged=int(facts.dependence["averaged_rows"].iloc[0]) if len(facts.dependence) else 0,
        shown=html.pictures().SHOWN,
        pictures={
            picture.name: {"title": picture.title, "data": base64.b64encode(picture.svg).decode()}
            for picture in pictures
        },
    )


def _table(metrics: "pd.DataFrame", by: str, first: str, columns: Columns) -> list[tuple[str, int, list[str]]]:
    """A line per candidate over all rows, or per slice: its name, how many rows, and each metric as text."""
    if by == "candidate":
        metrics = metrics[metrics["slice"] == "all"]
    wide = metrics.pivot_table(index=by, columns="metric", values="value")
    ordered = sorted(wide.index, key=lambda name: (name != first, name == MEAN, name))
    return [
        (
            name,
            int(wide.loc[name, "rows"]),
            [_as_text(wide.loc[name].get(metric), digits) for metric, (_, digits) in columns.items()],
        )
        for name in ordered
    ]


def _as_text(value: Any, digits: int | None) -> str:
    if value is None or value != value:  # NaN: the mean predictor has no interval
        return "–"
    if digits is None:
        return f"{value:.1%}"
    # of a small target, whole numbers would say nothing
    digits = digits or max(0, 3 - len(str(int(abs(value)))))
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0: no minus before a zero


def _count(metrics: "pd.DataFrame", split: str, metric: str) -> int:
    """Of all rows; 0 where a version of an earlier release does not say it."""
    counts = metrics[(metrics["split"] == split) & (metrics["slice"] == "all") & (metrics["metric"] == metric)]
    return int(counts["value"].iloc[0]) if len(counts) else 0


def _source() -> str:
    """The text of the template and its style."""
    return html.source(TEMPLATE) + html.source(html.STYLE)


@cache
def _drawing() -> str:
    """sha256 over what draws and writes a card."""
    return identity.modules(identity.HERE, ["reports"])
