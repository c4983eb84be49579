"""Pictures of a version, from what the lake holds of it; no number of a table is computed again."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ml.learning.judgement import ALL
from ml.metrics import GAINS
from ml.metrics import name as metric_name
from ml.records.overview import Learned
from ml.reports import drawing
from ml.reports.drawing import COUNTS, HUES, INK, LINES, MUTED, OTHER, OURS, STEPS, Picture
from ml.spec import MEAN

SIGNED = "RdBu_r"
# Share of the cells on the map whose colour is within the scale: a few extreme ones would pale the rest.
COLOURED_SHARE = 0.97
CELLS_ACROSS = 50
SHOWN = 20  # columns in one picture, those that matter most
LABELS = 12  # below a line that may have many more points
# Share of the predictions at each end that may lie beyond the frame; their number is written in it. A few predictions
# of linear models are so far off that all others would be a dot.
BEYOND_FRAME = 0.001
# Above these the dbt tests of `model_monitoring` warn and fail.
PSI_LIMITS, KS_LIMITS = (0.1, 0.25), (0.1, 0.3)


def predicted_against_actual(heldout: pd.DataFrame, target: str, unit: str = "") -> Picture:
    """The number of held-out rows in each cell of actual and predicted; predictions on the diagonal are right.

    Args:
        heldout: Columns actual and predicted, a row per held-out row of one split.
    """
    figure, axes = drawing.framed("Predicted against actual, held-out rows", 5.6)
    actual, predicted = heldout["actual"].to_numpy(np.float64), heldout["predicted"].to_numpy(np.float64)
    x_span = drawing.span(actual)
    y_span = drawing.span(np.concatenate([actual, np.quantile(predicted, [BEYOND_FRAME, 1 - BEYOND_FRAME])]))
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
    axes.set_xlabel(f"actual {drawing.words(target)}{drawing.in_unit(unit)}")
    axes.set_ylabel(f"predicted {drawing.words(target)}")
    axes.grid(True, color=LINES, linewidth=0.6)
    drawing.colour_bar(figure, axes, cells, "rows in a cell")
    drawing.legend(figure)
    return drawing.drawn(figure, "predicted_against_actual")


def residual_map(heldout: pd.DataFrame, longitude: str, latitude: str, unit: str = "") -> Picture:
    """Where predictions of held-out rows are too high, and where too low: the mean error in each cell.

    Args:
        heldout: Columns actual, predicted, and the two named, in degrees.
    """
    figure, axes = drawing.framed("Where predictions are too high (red) and too low (blue)", 6.6)
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
    axes.set_xlabel(f"{drawing.words(longitude)}, degrees")
    axes.set_ylabel(f"{drawing.words(latitude)}, degrees")
    drawing.colour_bar(figure, axes, cells, f"mean of predicted less actual{drawing.in_unit(unit)}", extend="both")
    return drawing.drawn(figure, "residual_map")


def error_by_slice(metrics: pd.DataFrame, candidate: str, split: str, unit: str = "", metric: str = "rmse") -> Picture:
    """A metric of held-out rows, over all and in each slice, by each split; the mean predictor's over all beside it.

    Args:
        metrics: Of one version, as in ml.model_metrics.
        split: The one that the gate judges by.
        metric: The one that the gate judges by.
    """
    values = _by_slice(metrics[metrics["candidate"] == candidate], metric)
    what = "Error" if metric in ("rmse", "mae") else _capital(metric_name(metric))
    figure, axes = drawing.framed(f"{what} by slice, held-out rows", 1.3 + 0.27 * len(values))
    places = np.arange(len(values))
    for fold in sorted(values.columns, key=lambda fold: fold == split):
        deciding = fold == split
        axes.scatter(
            values[fold],
            places,
            s=46,
            color=OURS if deciding else "white",
            edgecolor=OURS,
            label=f"{fold} folds{', which the gate judges by' if deciding else ''}",
            zorder=3,
        )
    axes.hlines(places, 0, values.max(axis=1), color=LINES, linewidth=1.4, zorder=1)
    mean = _by_slice(metrics[metrics["candidate"] == MEAN], metric)
    if split in mean:
        axes.axvline(float(mean[split].loc[ALL]), color=OTHER, linewidth=1.2, label=f"{_mean(metric)}, all rows")
    drawing.rows(axes, values.index)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{_capital(metric_name(metric))}{_unit_of(metric, unit)}")
    drawing.legend(figure)
    return drawing.drawn(figure, "error_by_slice")


def coverage(
    metrics: pd.DataFrame, candidate: str, split: str, level: float, promised: str = "Intervals hold the value"
) -> Picture:
    """The share of held-out values within their intervals, over all rows and in each slice, beside the share asked for.

    Args:
        metrics: Of one version, as in ml.model_metrics.
        promised: What the share is of, as the title says it.
    """
    covered = _by_slice(metrics[(metrics["candidate"] == candidate) & (metrics["split"] == split)], "coverage")[split]
    figure, axes = drawing.framed(f"{promised}: asked {level:.0%}, seen", 1.1 + 0.27 * len(covered))
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
    drawing.rows(axes, covered.index)
    room = max(0.02, 0.14 * (1 - min(float(covered.min()), level)))
    axes.set_xlim(max(0.0, min(float(covered.min()), level) - room), 1 + room)
    axes.set_xticks([tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= 1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.10g}%"))
    where = "inside their interval" if promised.startswith("Intervals") else "whose class is in their set"
    axes.set_xlabel(f"held-out rows {where}, {split} folds")
    return drawing.drawn(figure, "coverage")


def importance(importances: pd.DataFrame, unit: str = "", metric: str = "rmse") -> Picture:
    """By how much the held-out error grows when a feature is shuffled; the line is a standard deviation each way.

    Args:
        importances: Of one version, as in ml.feature_importance; the largest `SHOWN` are drawn.
        metric: By which they are measured.
    """
    ordered = importances.sort_values("importance_mean", ascending=False)[:SHOWN]
    figure, axes = drawing.framed("What the model relies on", 1.1 + 0.3 * len(ordered))
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
    drawing.rows(axes, [drawing.words(feature) for feature in ordered["feature"]])
    change = "fall" if metric in GAINS else "growth"
    axes.set_xlabel(
        f"{change} of the held-out {metric_name(metric)} when the feature is shuffled{_unit_of(metric, unit)}"
    )
    return drawing.drawn(figure, "importance")


def partial_dependence(curves: pd.DataFrame, target: str, unit: str = "", order: Sequence[str] = ()) -> Picture:
    """The mean prediction as one feature is set to each value; ticks below are quantiles of the rows.

    Of classes it is their mean probability, of the most frequent six at the most.

    Args:
        curves: Of one version, as in ml.partial_dependence.
        order: The features in the order of drawing; without it, in that of the curves. The first `SHOWN` are drawn.
    """
    names = (list(order) or list(dict.fromkeys(curves["feature"])))[:SHOWN]
    columns = min(3, len(names))
    of_classes = _most_probable(curves) if "class" in curves else []
    lines = -(-len(names) // columns)
    figure = drawing.empty("How predictions follow each feature, all else as it is", 0.7 + 1.75 * lines)
    grid = np.atleast_2d(figure.subplots(lines, columns, sharey=True, squeeze=False))
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.set_visible(False)
            continue
        curve = curves[curves["feature"] == names[place]].sort_values("grid_point")
        drawing.plain(axes)
        lines_of: list[str | None] = [*of_classes] or [None]
        for colour, one in zip(HUES, lines_of, strict=False):
            line = curve if one is None else curve[curve["class"] == one]
            label = drawing.class_name(one) if one is not None and place == 0 and len(of_classes) > 1 else None
            axes.plot(line["feature_value"], line["mean_prediction"], color=colour, linewidth=1.8, label=label)
        axes.plot(
            curve["feature_value"],
            np.zeros(len(curve)),
            "|",
            color=MUTED,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        axes.set_title(drawing.words(names[place]), fontsize=9, color=INK, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.grid(True, axis="y", color=LINES, linewidth=0.6)
    one_class = f" that {drawing.words(target)} is {drawing.class_name(of_classes[0])}" if len(of_classes) == 1 else ""
    what = f"mean probability{one_class}" if of_classes else f"mean predicted {drawing.words(target)}"
    figure.supylabel(f"{what}{drawing.in_unit(unit)}", fontsize=9, color=INK)
    if len(of_classes) > 1:
        drawing.legend(figure)
    return drawing.drawn(figure, "partial_dependence")


def _most_probable(curves: pd.DataFrame) -> list[str]:
    """The classes that curves are of, the most probable first, as many as there are hues."""
    means = curves.dropna(subset="class").groupby("class")["mean_prediction"].mean().to_dict()
    return sorted(map(str, means), key=lambda one: (-means[one], one))[: len(HUES)]


def drift(drifts: pd.DataFrame) -> Picture:
    """How far each column has moved, by both measures, beside where tests warn and fail.

    Args:
        drifts: Of one publication, as in ml.drift; the `SHOWN` columns that have moved most are drawn.
    """
    ordered = drifts.sort_values("psi", ascending=False)[:SHOWN]
    figure = drawing.empty("How far the rows have moved", 1.3 + 0.27 * len(ordered))
    both = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(ordered))
    for axes, column, name, (warn, fail) in zip(
        both,
        ("psi", "ks"),
        ("population stability index", "Kolmogorov and Smirnov's distance"),
        (PSI_LIMITS, KS_LIMITS),
        strict=True,
    ):
        drawing.plain(axes)
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
        drawing.rows(axes, [drawing.words(column) for column in ordered["column_name"]])
    return drawing.drawn(figure, "drift")


def errors_by_version(learned: Sequence[Learned], unit: str = "", metric: str = "rmse") -> Picture:
    """The held-out error of each version, the oldest first, beside its live error and the mean predictor's.

    Args:
        learned: Of one exposure, one at least.
        metric: By which they are measured.
    """
    what = "Error" if metric in ("rmse", "mae") else _capital(metric_name(metric))
    figure, axes = drawing.framed(f"{what} of each version, the oldest first", 3.4)
    places = np.arange(len(learned))
    held_out = [one.value for one in learned]
    axes.plot(places, held_out, color=OURS, linewidth=1.6, label="held out", zorder=2)
    colours = [OURS if one.served else "white" for one in learned]
    axes.scatter(places, held_out, s=46, color=colours, edgecolor=OURS, zorder=3)
    if live := {place: one.live for place, one in enumerate(learned) if one.live is not None}:
        axes.scatter(list(live), list(live.values()), s=46, marker="D", color=INK, label="live", zorder=4)
    mean = [np.nan if one.mean is None else one.mean for one in learned]
    axes.plot(places, mean, color=OTHER, linewidth=1.2, marker="_", label=f"{_mean(metric)}, held out", zorder=1)
    shown = sorted({round(place) for place in np.linspace(0, len(learned) - 1, min(len(learned), LABELS))})
    axes.set_xticks(shown, [learned[place].publication_id.rpartition("@")[2] for place in shown])
    axes.set_xlim(-0.5, len(learned) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("snapshot of the publication that it learned from")
    axes.set_ylabel(f"{_capital(metric_name(metric))}{_unit_of(metric, unit)}")
    axes.grid(True, axis="y", color=LINES, linewidth=0.6)
    drawing.legend(figure)
    return drawing.drawn(figure, "errors_by_version")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _unit_of(metric: str, unit: str) -> str:
    return drawing.in_unit(unit) if metric in ("rmse", "mae") else ""


def _mean(metric: str) -> str:
    """What every model must beat, in words."""
    return "the mean predictor" if metric in ("rmse", "mae") else "the classes' frequencies"


def _by_slice(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per slice, all rows first, the others in alphabetical order; a column per split."""
    wide = metrics[metrics["metric"] == metric].pivot_table(index="slice", columns="split", values="value")
    return wide.loc[sorted(wide.index, key=lambda name: (name != ALL, name))]
