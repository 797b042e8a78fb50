"""Pictures of the comparison."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.search_yield.measures import arms_of, distinct_after, searches_of
from benchmarks.search_yield.pool import WIDEST_MARGIN, Pool

POINTS = 200
LONGEST_SLOWDOWN = 1.6
"""how far beyond the budget the axis goes at most, for curves with training as calls forgone"""
PERCENTILES = (10, 50, 90)


def yield_picture(pool: Pool, path: Path) -> None:
    """Distinct terminations within the wide margin against force calls; dashed, with training as calls forgone."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    longest = 1.0
    for number, arm in enumerate(arms_of(pool)):
        searches, colour = searches_of(pool, arm), mpl.colormaps["tab20"](number % 20)
        calls = np.linspace(0, max(s.run.budget for s in searches), POINTS)
        counts = np.array([distinct_after(pool, s, WIDEST_MARGIN, calls) for s in searches])
        low, middle, high = np.percentile(counts, PERCENTILES, axis=0)
        axes.step(calls, middle, where="post", color=colour, label=arm)
        if len(searches) > 1:
            axes.fill_between(calls, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        slowed = np.mean([s.run.wall_s / max(s.run.wall_s - s.run.training_s, 1e-9) for s in searches])
        if slowed > 1.01:
            axes.step(slowed * calls, middle, where="post", color=colour, linestyle=":", linewidth=1)
            longest = max(longest, min(slowed, LONGEST_SLOWDOWN))
    axes.set(
        xlabel="force calls", ylabel=f"distinct terminations within {1000 * WIDEST_MARGIN:g} meV/Å²", ylim=(0, None)
    )
    axes.set_xlim(0, longest * max(s.run.budget for s in pool.searches))
    axes.legend(frameon=False, fontsize=8)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
