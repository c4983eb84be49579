"""Pictures of a version, from what the lake holds of it; no number of a table is computed again.

They are SVG whose text is text: who shows one has fonts for the scripts that its readers write, and matplotlib has one.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from ml.arrays import Vector
from ml.learning.judgement import ALL
from ml.records.overview import Learned
from ml.spec import MEAN

mpl.rcParams["svg.fonttype"] = "none"  # text as text
mpl.rcParams["svg.hashsalt"] = "tract"  # the same numbers give the same file

WIDTH = 7.0  # inches; text is sized to be read at 700 pixels
DPI = 200  # of the cells of maps, which would be thousands of paths
INK, MUTED, LINES, OURS, OTHER = "#1f2933", "#6b7280", "#e5e7eb", "#2a5d9c", "#c46a1b"
COUNTS = LinearSegmentedColormap.from_list("counts", ["#cfe0f1", "#7fb0dc", OURS, "#0c2a52"])
SIGNED = "RdBu_r"
STEPS = [1, 2, 2.5, 5, 10]  # of ticks: numbers that are read at a glance
# Share of the cells on the map whose colour is within the scale: a few extreme ones would pale the rest.
COLOURED_SHARE = 0.97
CELLS_ACROSS = 50
LABELS = 12  # below a line that may have many more points
# Share of the predictions at each end that may lie beyond the frame; their number is written in it. A few predictions
# of linear models are so far off that all others would be a dot.
BEYOND_FRAME = 0.001
# Above these the dbt tests of `model_monitoring` warn and fail.
PSI_LIMITS, KS_LIMITS = (0.1, 0.25), (0.1, 0.3)


@dataclass(frozen=True)
class Picture:
    """An SVG of 504 points' width, to be shown at 700 pixels.

    Attributes:
        name: As a file would be called.
        title: What it shows, in words, as in the picture.
    """

    name: str
    title: str
    svg: bytes


def predicted_against_actual(heldout: pd.DataFrame, target: str, unit: str = "") -> Picture:
    """The number of held-out rows in each cell of actual and predicted; predictions on the diagonal are right.

    Args:
        heldout: Columns actual and predicted, a row per held-out row of one split.
    """
    figure, axes = _figure("Predicted against actual, held-out rows", 5.6)
    actual, predicted = heldout["actual"].to_numpy(np.float64), heldout["predicted"].to_numpy(np.float64)
    x_span = _span(actual)
    y_span = _span(np.concatenate([actual, np.quantile(predicted, [BEYOND_FRAME, 1 - BEYOND_FRAME])]))
    cells = axes.hexbin(
        actual,
        predicted,
        gridsize=CELLS_ACROSS,
        extent=(*x_span, *y_span),
        bins="log",
        mincnt=1,
        cmap=COUNTS,
        linewidths=0,
        rasterized=True,
        antialiased=False,
    )
    axes.axline((x_span[0], x_span[0]), slope=1, color=OTHER, linewidth=1.2, label="predicted = actual")
    axes.set(xlim=x_span, ylim=y_span)
    if beyond := int(np.sum((predicted < y_span[0]) | (predicted > y_span[1]))):
        note = f"{beyond:,} of {len(predicted):,} rows are predicted beyond the frame"
        axes.set_title(note, loc="left", fontsize=8.5, color=MUTED)
    axes.set_xlabel(f"actual {_words(target)}{_in(unit)}")
    axes.set_ylabel(f"predicted {_words(target)}")
    axes.grid(True, color=LINES, linewidth=0.6)
    _colour_bar(figure, axes, cells, "rows in a cell")
    _legend(figure)
    return _drawn(figure, "predicted_against_actual")


def residual_map(heldout: pd.DataFrame, longitude: str, latitude: str, unit: str = "") -> Picture:
    """Where predictions of held-out rows are too high, and where too low: the mean error in each cell.

    Args:
        heldout: Columns actual, predicted, and the two named, in degrees.
    """
    figure, axes = _figure("Where predictions are too high (red) and too low (blue)", 6.6)
    x, y = heldout[longitude].to_numpy(), heldout[latitude].to_numpy()
    residual = (heldout["predicted"] - heldout["actual"]).to_numpy()
    cells = axes.hexbin(
        x,
        y,
        C=residual,
        reduce_C_function=np.mean,
        gridsize=CELLS_ACROSS,
        mincnt=1,
        cmap=SIGNED,
        linewidths=0.15,
        rasterized=True,
        antialiased=False,
    )
    end = float(np.quantile(np.abs(np.asarray(cells.get_array(), np.float64)), COLOURED_SHARE)) or 1.0
    cells.set_clim(-end, end)
    cells.set_edgecolor("#9ca3af")  # cells near zero are nearly white
    axes.set_aspect(1 / np.cos(np.radians(float(y.mean()))))  # a degree of longitude is that much shorter
    axes.set_xlabel(f"{_words(longitude)}, degrees")
    axes.set_ylabel(f"{_words(latitude)}, degrees")
    _colour_bar(figure, axes, cells, f"mean of predicted less actual{_in(unit)}", extend="both")
    return _drawn(figure, "residual_map")


def error_by_slice(metrics: pd.DataFrame, candidate: str, split: str, unit: str = "") -> Picture:
    """RMSE of held-out rows, over all and in each slice, by each split; the mean predictor's over all beside it.

    Args:
        metrics: Of one version, as in ml.model_metrics.
        split: The one that the gate judges by.
    """
    rmse = _by_slice(metrics[metrics["candidate"] == candidate], "rmse")
    figure, axes = _figure("Error by slice, held-out rows", 1.3 + 0.27 * len(rmse))
    places = np.arange(len(rmse))
    for name in sorted(rmse.columns, key=lambda name: name == split):
        deciding = name == split
        axes.scatter(
            rmse[name],
            places,
            s=46,
            color=OURS if deciding else "white",
            edgecolor=OURS,
            label=f"{name} folds{', which the gate judges by' if deciding else ''}",
            zorder=3,
        )
    axes.hlines(places, 0, rmse.max(axis=1), color=LINES, linewidth=1.4, zorder=1)
    mean = _by_slice(metrics[metrics["candidate"] == MEAN], "rmse")
    if split in mean:
        axes.axvline(float(mean[split].loc[ALL]), color=OTHER, linewidth=1.2, label="the mean predictor, all rows")
    _rows(axes, rmse.index)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"RMSE{_in(unit)}")
    _legend(figure)
    return _drawn(figure, "error_by_slice")


def coverage(metrics: pd.DataFrame, candidate: str, split: str, level: float) -> Picture:
    """The share of held-out values within their intervals, over all rows and in each slice, beside the share asked for.

    Args:
        metrics: Of one version, as in ml.model_metrics.
    """
    covered = _by_slice(metrics[(metrics["candidate"] == candidate) & (metrics["split"] == split)], "coverage")[split]
    figure, axes = _figure(f"Intervals hold the value: asked {level:.0%}, seen", 1.1 + 0.27 * len(covered))
    places = np.arange(len(covered))
    axes.hlines(places, level, covered, color=LINES, linewidth=3, zorder=1)
    axes.scatter(covered, places, s=46, color=OURS, zorder=3)
    for place, value in zip(places, covered, strict=True):
        axes.annotate(
            f"{value:.1%}",
            (value, place),
            (7 if value >= level else -7, 0),
            textcoords="offset points",
            ha="left" if value >= level else "right",
            va="center",
            fontsize=8.5,
            color=INK,
        )
    axes.axvline(level, color=OTHER, linewidth=1.2, zorder=2)
    _rows(axes, covered.index)
    room = max(0.02, 0.14 * (1 - min(float(covered.min()), level)))
    axes.set_xlim(max(0.0, min(float(covered.min()), level) - room), 1 + room)
    axes.set_xticks([tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= 1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.10g}%"))
    axes.set_xlabel(f"held-out rows inside their interval, {split} folds")
    return _drawn(figure, "coverage")


def importance(importances: pd.DataFrame, unit: str = "") -> Picture:
    """By how much the held-out error grows when a feature is shuffled; the line is a standard deviation each way.

    Args:
        importances: Of one version, as in ml.feature_importance.
    """
    ordered = importances.sort_values("importance_mean", ascending=False)
    figure, axes = _figure("What the model relies on", 1.1 + 0.3 * len(ordered))
    places = np.arange(len(ordered))
    axes.barh(
        places,
        ordered["importance_mean"],
        xerr=ordered["importance_sd"],
        color=OURS,
        height=0.62,
        error_kw={"ecolor": INK, "elinewidth": 1.1},
        zorder=2,
    )
    axes.axvline(0, color=MUTED, linewidth=0.8)
    _rows(axes, [_words(name) for name in ordered["feature"]])
    axes.set_xlabel(f"growth of the held-out RMSE when the feature is shuffled{_in(unit)}")
    return _drawn(figure, "importance")


def partial_dependence(curves: pd.DataFrame, target: str, unit: str = "", order: Sequence[str] = ()) -> Picture:
    """The mean prediction as one feature is set to each value; ticks below are quantiles of the rows.

    Args:
        curves: Of one version, as in ml.partial_dependence.
        order: The features in the order of drawing; without it, in the order of the curves.
    """
    names = list(order) or list(dict.fromkeys(curves["feature"]))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = _empty("How predictions follow each feature, all else as it is", 0.7 + 1.75 * lines)
    grid = np.atleast_2d(figure.subplots(lines, columns, sharey=True, squeeze=False))
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.set_visible(False)
            continue
        curve = curves[curves["feature"] == names[place]].sort_values("grid_point")
        _plain(axes)
        axes.plot(curve["feature_value"], curve["mean_prediction"], color=OURS, linewidth=1.8)
        axes.plot(
            curve["feature_value"],
            np.zeros(len(curve)),
            "|",
            color=MUTED,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        axes.set_title(_words(names[place]), fontsize=9, color=INK, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.grid(True, axis="y", color=LINES, linewidth=0.6)
    figure.supylabel(f"mean predicted {_words(target)}{_in(unit)}", fontsize=9, color=INK)
    return _drawn(figure, "partial_dependence")


def drift(drifts: pd.DataFrame) -> Picture:
    """How far each column has moved, by both measures, beside where tests warn and fail.

    Args:
        drifts: Of one publication, as in ml.drift.
    """
    ordered = drifts.sort_values("psi", ascending=False)
    figure = _empty("How far the rows have moved", 1.3 + 0.27 * len(ordered))
    both = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(ordered))
    for axes, column, name, (warn, fail) in zip(
        both,
        ("psi", "ks"),
        ("population stability index", "Kolmogorov and Smirnov's distance"),
        (PSI_LIMITS, KS_LIMITS),
        strict=True,
    ):
        _plain(axes)
        axes.barh(places, ordered[column], color=OURS, height=0.62, zorder=2)
        for limit, does in ((warn, "warns"), (fail, "fails")):
            axes.axvline(limit, color=OTHER, linewidth=1.1, linestyle=":" if limit == warn else "-")
            axes.annotate(
                does,
                (limit, 1.0),
                (2, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=8,
                color=OTHER,
            )
        axes.set_xlim(0, max(fail * 1.2, float(ordered[column].max()) * 1.08))
        axes.set_xlabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        _rows(axes, [_words(name) for name in ordered["column_name"]])
    return _drawn(figure, "drift")


def errors_by_version(learned: Sequence[Learned], unit: str = "") -> Picture:
    """The held-out error of each version, the oldest first, beside its live error and the mean predictor's.

    Args:
        learned: Of one exposure, one at least.
    """
    figure, axes = _figure("Error of each version, the oldest first", 3.4)
    places = np.arange(len(learned))
    rmse = [one.rmse for one in learned]
    axes.plot(places, rmse, color=OURS, linewidth=1.6, label="held out", zorder=2)
    colours = [OURS if one.served else "white" for one in learned]
    axes.scatter(places, rmse, s=46, color=colours, edgecolor=OURS, zorder=3)
    if live := {place: one.live_rmse for place, one in enumerate(learned) if one.live_rmse is not None}:
        axes.scatter(list(live), list(live.values()), s=46, marker="D", color=INK, label="live", zorder=4)
    mean = [np.nan if one.mean_rmse is None else one.mean_rmse for one in learned]
    axes.plot(places, mean, color=OTHER, linewidth=1.2, marker="_", label="the mean predictor, held out", zorder=1)
    shown = sorted({round(place) for place in np.linspace(0, len(learned) - 1, min(len(learned), LABELS))})
    axes.set_xticks(shown, [learned[place].publication_id.rpartition("@")[2] for place in shown])
    axes.set_xlim(-0.5, len(learned) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("snapshot of the publication that it learned from")
    axes.set_ylabel(f"RMSE{_in(unit)}")
    axes.grid(True, axis="y", color=LINES, linewidth=0.6)
    _legend(figure)
    return _drawn(figure, "errors_by_version")


def _by_slice(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per slice, all rows first, the others in alphabetical order; a column per split."""
    wide = metrics[metrics["metric"] == metric].pivot_table(index="slice", columns="split", values="value")
    return wide.loc[sorted(wide.index, key=lambda name: (name != ALL, name))]


def _empty(title: str, height: float) -> Figure:
    # a Figure of its own, not pyplot's: nothing is kept between calls, and threads do not meet
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    return figure


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = _empty(title, height)
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)
    axes.xaxis.label.set(size=9, color=INK)
    axes.yaxis.label.set(size=9, color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_number))
        axis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.set_axisbelow(True)


def _rows(axes: Axes, names: Sequence[str] | pd.Index) -> None:
    """A name at the left of each row, the first on top."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x", color=LINES, linewidth=0.6)


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8.5, labelcolor=INK, handletextpad=0.4)


def _colour_bar(figure: Figure, axes: Axes, cells: object, label: str, extend: str = "neither") -> None:
    bar = figure.colorbar(cells, ax=axes, shrink=0.7, aspect=28, pad=0.02, extend=extend, format=FuncFormatter(_number))  # type: ignore[arg-type]
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, colors=INK, length=3)
    bar.outline.set_visible(False)
    bar.minorformatter = LogFormatter()  # of counts below ten, the ticks between the powers too, as numbers


def _drawn(figure: Figure, name: str) -> Picture:
    for text in figure.findobj(Text):  # what users wrote is text: a dollar begins no formula
        text.set_parse_math(False)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # room is left for glyphs that matplotlib has not, 1.15 of the text's height each
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # no date and no library's version: the same numbers give the same file
        metadata = {"Date": None, "Creator": None}
        figure.savefig(buffer, format="svg", dpi=DPI, facecolor="white", metadata=metadata)
    return Picture(name, figure.get_suptitle(), _NO_XML.sub(" ", buffer.getvalue()).encode())


# Characters that no XML may hold, of which a value in the data may have some.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _span(values: Vector) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.02 * (high - low) or 1.0
    return low - room, high + room


def _number(value: float, _: object = None) -> str:
    """A number with separators of thousands, and no more digits than it has."""
    return f"{value:,.10g}".replace("-", "−")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _in(unit: str) -> str:
    return f", {unit}" if unit else ""
