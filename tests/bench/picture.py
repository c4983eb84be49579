"""The bench's figures as a picture: time and memory against rows."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from tests.bench.measure import Measure

LINES = {
    ("ours", "local disk"): ("Tract, local disk", "#0b7285", "-", "o"),
    ("ours", "local S3"): ("Tract, local S3", "#0b7285", "--", "o"),
    ("recipe", "local disk"): ("the recipe, local disk", "#c92a2a", "-", "s"),
    ("recipe", "local S3"): ("the recipe, local S3", "#c92a2a", "--", "s"),
    ("scikit-learn", "local disk"): ("scikit-learn's grid search", "#e67700", "-", "^"),
    ("limit", "local disk"): ("DuckDB copies the features, local disk", "#868e96", "-", "."),
    ("limit", "local S3"): ("DuckDB copies the features, local S3", "#868e96", "--", "."),
}


def draw(measures: Sequence[Measure], path: Path) -> None:
    """Two panels side by side, a line a contender and storage."""
    figure, (time, memory) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    for (contender, storage), (label, color, style, marker) in LINES.items():
        found = sorted((m for m in measures if (m.contender, m.storage) == (contender, storage)), key=lambda m: m.rows)
        if not found:
            continue
        millions = [m.rows / 1e6 for m in found]
        drawn = {"color": color, "linestyle": style, "marker": marker, "label": label}
        time.plot(millions, [m.seconds["copy"] if contender == "limit" else m.total for m in found], **drawn)
        if contender != "limit":
            memory.plot(millions, [m.peak_bytes / 1e9 for m in found], **drawn)
    for axes, title in (
        (time, "seconds in all"),
        (memory, "peak memory of the processes, GB"),
    ):
        axes.set(xscale="log", xlabel="million rows", title=title)
        axes.set_xticks(ticks := sorted({m.rows / 1e6 for m in measures}), [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(True, color="#dee2e6", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    time.set_yscale("log")
    time.yaxis.set_major_formatter("{x:g}")
    memory.set_ylim(bottom=0)
    memory.axhline(2, color="#adb5bd", linewidth=0.8, linestyle=":")
    memory.text(min(m.rows for m in measures) / 1e6, 2, "2 GB", color="#868e96", fontsize=8, va="bottom")
    handles, labels = time.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    figure.savefig(path, dpi=150)
    plt.close(figure)
