"""How all pictures look: their frame, ticks, legend and colours; and an SVG of a figure.

Their text is text: who shows one has fonts for the scripts that its readers write, and matplotlib has one.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from ml.arrays import Vector

mpl.rcParams["svg.fonttype"] = "none"  # text as text
mpl.rcParams["svg.hashsalt"] = "tract"  # the same numbers give the same file

WIDTH = 7.0  # inches; text is sized to be read at 700 pixels
DPI = 200  # of the cells of maps, which would be thousands of paths
INK, MUTED, LINES, OURS, OTHER = "#1f2933", "#6b7280", "#e5e7eb", "#2a5d9c", "#c46a1b"
# Of lines that are told apart, the first of them ours.
HUES = (OURS, OTHER, "#2f855a", "#8b5fbf", "#b7791f", "#64748b")
COUNTS = LinearSegmentedColormap.from_list("counts", ["#cfe0f1", "#7fb0dc", OURS, "#0c2a52"])
# Characters of a class's name.
MOST_CHARACTERS = 24
STEPS = [1, 2, 2.5, 5, 10]  # of ticks: numbers that are read at a glance


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


def empty(title: str, height: float) -> Figure:
    """A figure of so many inches' height, with a title."""
    # a Figure of its own, not pyplot's: nothing is kept between calls, and threads do not meet
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    return figure


def framed(title: str, height: float) -> tuple[Figure, Axes]:
    """The same, with one frame."""
    figure = empty(title, height)
    axes = figure.subplots()
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """Lines, ticks and numbers as all frames have them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)
    axes.xaxis.label.set(size=9, color=INK)
    axes.yaxis.label.set(size=9, color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(number))
        axis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.set_axisbelow(True)


def rows(axes: Axes, names: Sequence[str] | pd.Index) -> None:
    """A name at the left of each row, the first on top."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x", color=LINES, linewidth=0.6)


def legend(figure: Figure) -> None:
    """What is what, below the frame."""
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8.5, labelcolor=INK, handletextpad=0.4)


def colour_bar(figure: Figure, axes: Axes, cells: object, label: str, extend: str = "neither") -> None:
    """What the colours of cells mean, beside the frame."""
    bar = figure.colorbar(cells, ax=axes, shrink=0.7, aspect=28, pad=0.02, extend=extend, format=FuncFormatter(number))  # type: ignore[arg-type]
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8.5, colors=INK, length=3)
    bar.outline.set_visible(False)
    bar.minorformatter = LogFormatter()  # of counts below ten, the ticks between the powers too, as numbers


def drawn(figure: Figure, name: str) -> Picture:
    """The figure as a picture."""
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


def span(values: Vector) -> tuple[float, float]:
    """The ends of an axis that has all values on it."""
    low, high = float(values.min()), float(values.max())
    room = 0.02 * (high - low) or 1.0
    return low - room, high + room


def number(value: float, _: object = None) -> str:
    """A number with separators of thousands, and no more digits than it has."""
    return f"{value:,.10g}".replace("-", "−")


def words(name: str) -> str:
    """A column's name in words."""
    return name.replace("_", " ")


def class_name(name: str) -> str:
    """A class as it stands beside an axis or in a legend, where no text and some texts would not be seen."""
    told = f"“{name}”" if not name.strip() or name.startswith("_") else name
    return told if len(told) <= MOST_CHARACTERS else f"{told[: MOST_CHARACTERS - 1]}…"


def in_unit(unit: str) -> str:
    """A unit as a label ends, if there is one."""
    return f", {unit}" if unit else ""
