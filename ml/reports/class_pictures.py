"""Pictures of a version that predicts classes, from its held-out probabilities as the lake holds them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from scipy.stats import norm

from ml.arrays import Integers, Mask, Matrix, Vector
from ml.learning.measures import Ranking, bins
from ml.reports import drawing
from ml.reports.drawing import COUNTS, HUES, INK, LINES, MUTED, OTHER, OURS, Picture

# Classes that have a line of their own, and a row of a table: the most frequent.
MOST_LINES, MOST_ROWS = 6, 12
# Points of a curve: what is between them is narrower than the line.
MOST_POINTS = 400
# Of the bars of the reliability: chance alone leaves so many of all points outside of theirs.
SURE = 0.9


def probabilities(heldout: pd.DataFrame, classes: Sequence[str]) -> Matrix:
    """The column `probabilities`, a mapping a row, as an array of shape (rows, classes).

    Args:
        classes: All, as text, in the order of the columns.
    """
    return np.array([[row[name] for name in classes] for row in heldout["probabilities"]], np.float64)


def roc(heldout: pd.DataFrame, classes: Sequence[str], positive: str | None) -> Picture:
    """How many rows of a class are found for how many others that are taken for it, at each threshold.

    Args:
        heldout: Columns actual and probabilities, a row per held-out row of one split.
        classes: All, as text.
        positive: Of two classes, the one that is found; of more, each is, against all others.
    """
    figure, axes = drawing.framed("ROC curve, held-out rows", 5.2)
    scores, actual = probabilities(heldout, classes), heldout["actual"].to_numpy(object)
    named = [positive] if positive is not None else _most_frequent(actual, classes, MOST_LINES)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, linestyle=":", label="chance")
    for colour, name in zip(HUES, named, strict=False):
        inside, score = actual == name, scores[:, list(classes).index(name)]
        if not 0 < inside.sum() < len(inside):
            continue
        false, true = _curve(inside, score)
        area = Ranking(inside, score).value("roc_auc")
        axes.plot(false, true, color=colour, linewidth=1.8, label=f"{drawing.class_name(name)}, area {area:.3f}")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xlabel("false positive rate: share of other rows that are taken for the class")
    axes.set_ylabel("true positive rate: share of the class's rows that are found")
    axes.grid(True, color=LINES, linewidth=0.6)
    _in_percent(axes)
    if len(named) < len(classes) and positive is None:
        axes.set_title(_left_out(len(named), len(classes)), loc="left", fontsize=8.5, color=MUTED)
    drawing.legend(figure)
    return drawing.drawn(figure, "roc")


def reliability(heldout: pd.DataFrame, classes: Sequence[str], positive: str | None) -> Picture:
    """How often what is said with a probability is true, in bins of equally many rows; and how the probabilities lie.

    Args:
        heldout: Columns actual, predicted and probabilities, a row per held-out row of one split.
        classes: All, as text.
        positive: Of two classes, the one whose probability is meant; of more, the predicted class's is.
    """
    figure = drawing.empty("Reliability, held-out rows", 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    scores = probabilities(heldout, classes)
    actual = heldout["actual"].to_numpy(object)
    if positive is None:
        said, true = scores.max(axis=1), actual == heldout["predicted"].to_numpy(object)
    else:
        said, true = scores[:, list(classes).index(positive)], actual == positive
    mean, share, low, high = _bins(said, true)
    for axes in (above, below):
        drawing.plain(axes)
    above.plot([0, 1], [0, 1], color=OTHER, linewidth=1.2, label="as often as said")
    above.errorbar(
        mean,
        share,
        yerr=[share - low, high - share],
        fmt="o",
        color=OURS,
        markersize=5,
        elinewidth=1.2,
        label=f"a bin of rows; the bar is where chance would leave it in {SURE:.0%} of cases",
    )
    above.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    what = "the predicted class" if positive is None else drawing.class_name(positive)
    above.set_ylabel(
        f"share of rows whose class is {what}" if positive is not None else "share of rows whose class it is"
    )
    below.hist(said, bins=np.linspace(0, 1, 41).tolist(), color=OURS)
    below.set_xlabel(f"probability of {what}")
    below.set_ylabel("rows")
    for axes in (above, below):
        axes.grid(True, color=LINES, linewidth=0.6)
    above.yaxis.set_major_formatter(FuncFormatter(_percent))
    below.xaxis.set_major_formatter(FuncFormatter(_percent))
    drawing.legend(figure)
    return drawing.drawn(figure, "reliability")


def confusion(heldout: pd.DataFrame, classes: Sequence[str]) -> Picture:
    """How many rows of each class are predicted as each; the colour is the share of the class's own rows.

    Args:
        heldout: Columns actual and predicted, a row per held-out row of one split.
        classes: All, as text.
    """
    actual, predicted = heldout["actual"].to_numpy(object), heldout["predicted"].to_numpy(object)
    names = list(classes)
    if len(names) > MOST_ROWS:
        kept = _most_frequent(actual, classes, MOST_ROWS - 1)
        names = [name for name in classes if name in kept]
    counts = _counts(actual, predicted, names)
    if len(names) == len(classes):
        counts = counts[:-1, :-1]
    labels = [drawing.class_name(name) for name in names] + (["all others"] if len(names) < len(classes) else [])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = drawing.framed("Confusion, held-out rows", 1.9 + 0.42 * max(len(labels), 3))
    cells = axes.pcolormesh(shares, cmap=COUNTS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
    small = 8.5 if len(labels) <= 8 else 7
    for row, column in np.ndindex(*counts.shape):
        share = shares[row, column]
        told = f"{counts[row, column]:,}" + (f"\n{share:.0%}" if len(labels) <= 6 else "")
        axes.text(
            column + 0.5,
            row + 0.5,
            told,
            ha="center",
            va="center",
            fontsize=small,
            color="white" if share > 0.45 else INK,
        )
    places = np.arange(len(labels)) + 0.5
    tilted = max(map(len, labels)) * len(labels) > 60
    axes.set_xticks(places, labels, rotation=30 if tilted else 0, ha="right" if tilted else "center")
    axes.set_yticks(places, labels)
    axes.tick_params(length=0)
    axes.set_ylim(len(labels), 0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    drawing.colour_bar(figure, axes, cells, "share of the actual class's rows")
    return drawing.drawn(figure, "confusion")


def _curve(inside: Mask, score: Vector) -> tuple[Vector, Vector]:
    """The false and the true positive rate at each score, from none to all, at `MOST_POINTS` of them."""
    order = np.argsort(-score, kind="stable")
    found, ordered = inside[order], score[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # the last row of each score
    true, false = np.cumsum(found)[last] / found.sum(), np.cumsum(~found)[last] / (~found).sum()
    true, false = np.append(0.0, true), np.append(0.0, false)
    # evenly along the curve, where it rises and where it runs
    along = true + false
    kept = np.unique(np.searchsorted(along, np.linspace(0, 2, MOST_POINTS)).clip(0, len(along) - 1))
    return false[kept], true[kept]


def _bins(said: Vector, true: Mask) -> tuple[Vector, Vector, Vector, Vector]:
    """Of bins of equally many rows: mean probability, share that is true, and the ends of Wilson's interval of it.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    parts = bins(said)
    count = np.array([len(rows) for rows in parts], np.float64)
    mean = np.array([said[rows].mean() for rows in parts])
    share = np.array([true[rows].mean() for rows in parts])
    z = float(norm.ppf((1 + SURE) / 2))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return mean, share, np.minimum(centre - half, share), np.maximum(centre + half, share)


def _counts(actual: Iterable[str], predicted: Iterable[str], names: Sequence[str]) -> Integers:
    """Rows by actual and predicted class, shape (names + 1, names + 1), the last for all others."""
    place = {name: i for i, name in enumerate(names)}
    pairs = np.array(
        [
            [place.get(one, len(names)), place.get(other, len(names))]
            for one, other in zip(actual, predicted, strict=True)
        ],
        np.int64,
    ).reshape(-1, 2)
    counts = np.zeros((len(names) + 1,) * 2, np.int64)
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    return counts


def _most_frequent(actual: Iterable[str], classes: Sequence[str], most: int) -> list[str]:
    """At most so many classes, the most frequent first."""
    counts = Counter(actual)
    return sorted(classes, key=lambda name: (-counts[name], name))[:most]


def _left_out(shown: int, of: int) -> str:
    return f"the {shown} most frequent of {of} classes, each against all others" if shown < of else ""


def _percent(value: float, _: object = None) -> str:
    return f"{100 * value:.10g}%"


def _in_percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_percent))
