"""Pictures of the comparison."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.search_yield.measures import LOOP_ARM, arms_of, distinct_after, searches_of
from benchmarks.search_yield.pool import WIDEST_MARGIN, Pool

POINTS = 200
PERCENTILES = (10, 50, 90)
COLOURS = [*mpl.colormaps["tab10"].colors, *mpl.colormaps["Dark2"].colors]
THIN, THICK = 1.3, 2.6


def yield_picture(pool: Pool, path: Path) -> None:
    """Distinct terminations within the wide margin against force calls, and against the time of it all."""
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    axes, timed = figure.subplots(1, 2, sharey=True)
    for number, arm in enumerate(sorted(arms_of(pool), key=lambda arm: arm != LOOP_ARM)):
        searches, own = searches_of(pool, arm), arm == LOOP_ARM
        colour, width = ("black", THICK) if own else (COLOURS[number % len(COLOURS)], THIN)
        calls = np.linspace(0, max(s.run.budget for s in searches), POINTS)
        counts = np.array([distinct_after(pool, s, WIDEST_MARGIN, calls) for s in searches])
        low, middle, high = np.percentile(counts, PERCENTILES, axis=0)
        axes.step(calls, middle, where="post", color=colour, linewidth=width, label=arm)
        if len(searches) > 1:
            axes.fill_between(calls, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        seconds_each = np.mean([s.run.wall_s / s.run.calls for s in searches])
        timed.step(seconds_each * calls[1:], middle[1:], where="post", color=colour, linewidth=width)
    axes.set(
        xlabel="force calls", ylabel=f"distinct terminations within {1000 * WIDEST_MARGIN:g} meV/Å²", ylim=(0, None)
    )
    axes.set_xlim(0, max(s.run.budget for s in pool.searches))
    timed.set(xlabel="wall time in s, everything included", xscale="log")
    axes.legend(frameon=False, fontsize=8)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
