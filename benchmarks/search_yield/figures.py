"""Pictures of the comparison."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.search_yield.measures import arms_of, distinct_after, searches_of
from benchmarks.search_yield.pool import WIDEST_MARGIN, Pool

POINTS = 200
PERCENTILES = (10, 50, 90)


def yield_picture(pool: Pool, path: Path) -> None:
    """Distinct terminations within the wide margin against force calls, and against the time of it all."""
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    axes, timed = figure.subplots(1, 2, sharey=True)
    for number, arm in enumerate(arms_of(pool)):
        searches, colour = searches_of(pool, arm), mpl.colormaps["tab20"](number % 20)
        calls = np.linspace(0, max(s.run.budget for s in searches), POINTS)
        counts = np.array([distinct_after(pool, s, WIDEST_MARGIN, calls) for s in searches])
        low, middle, high = np.percentile(counts, PERCENTILES, axis=0)
        axes.step(calls, middle, where="post", color=colour, label=arm)
        if len(searches) > 1:
            axes.fill_between(calls, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        seconds_each = np.mean([s.run.wall_s / s.run.calls for s in searches])
        timed.step(seconds_each * calls[1:], middle[1:], where="post", color=colour)
    axes.set(
        xlabel="force calls", ylabel=f"distinct terminations within {1000 * WIDEST_MARGIN:g} meV/Å²", ylim=(0, None)
    )
    axes.set_xlim(0, max(s.run.budget for s in pool.searches))
    timed.set(xlabel="wall time in s, everything included", xscale="log")
    axes.legend(frameon=False, fontsize=8)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})
