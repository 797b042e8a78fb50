"""Figures of arms on one cell, each with its band over seeds and terminations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search_yield.pool import Pool, Search
from searcher.scoring.thermodynamics import Envelope, Line

LOOP_ARM = "gan"
"""The whole loop, whose advantage is measured"""
BOOTSTRAPS = 2000
BAND = (5.0, 95.0)
"""percentiles"""


@dataclass(frozen=True)
class Figure:
    """A median over seeds and its band."""

    median: float
    low: float
    high: float


def arms_of(pool: Pool) -> list[str]:
    """Names of the arms, in order of name."""
    return sorted({search.run.arm for search in pool.searches})


def searches_of(pool: Pool, arm: str) -> list[Search]:
    return [search for search in pool.searches if search.run.arm == arm]


def first_sights(pool: Pool, search: Search, margin: float) -> np.ndarray:
    """Force calls at which each termination within the margin was first there; infinite if it never was."""
    return np.array([search.found.get(int(t), np.inf) for t in pool.within(margin)])


def distinct_after(pool: Pool, search: Search, margin: float, calls: np.ndarray) -> np.ndarray:
    """How many distinct terminations within the margin were found after so many calls, shape of `calls`."""
    return np.searchsorted(np.sort(first_sights(pool, search, margin)), calls, side="right")


def distinct(pool: Pool, arm: str, margin: float, calls: float, rng: np.random.Generator) -> Figure:
    """Distinct terminations within the margin after so many calls."""
    return _resampled(pool, arm, margin, lambda sights, weights: float(weights[sights <= calls].sum()), rng)


def calls_until(pool: Pool, arm: str, margin: float, share: float, rng: np.random.Generator) -> Figure:
    """Force calls until a share of the pool was found; infinite where it never was."""

    def reached(sights: np.ndarray, weights: np.ndarray) -> float:
        order = np.argsort(sights)
        enough = np.flatnonzero(np.cumsum(weights[order]) >= share * weights.sum())
        return float(sights[order][enough[0]]) if len(enough) else np.inf

    return _resampled(pool, arm, margin, reached, rng)


def _resampled(
    pool: Pool, arm: str, margin: float, measure: Callable[[np.ndarray, np.ndarray], float], rng: np.random.Generator
) -> Figure:
    """The measure's median over seeds, and its band when seeds and the pool's terminations are drawn again.

    Which terminations happen to be in the pool is chance as well. Drawing them with repetition gives weights; drawing
    a run's own relaxations again would lose distinct ones by construction.
    """
    sights = [first_sights(pool, search, margin) for search in searches_of(pool, arm)]
    n = len(sights[0])
    once = np.ones(n)
    values = [measure(own, once) for own in sights]
    drawn = []
    for _ in range(BOOTSTRAPS if n else 0):
        weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(float)
        chosen = rng.integers(len(sights), size=len(sights))
        drawn.append(median([measure(sights[seed], weights) for seed in chosen]))
    low, high = _percentiles(drawn) if drawn else (0.0, 0.0)
    return Figure(median(values), low, high)


def median(values: Sequence[float]) -> float:
    """The middle value, the upper one of two: with infinite values there is no mean of two."""
    return sorted(values)[len(values) // 2]


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    low, high = (ordered[round(share / 100 * last)] for share in BAND)
    return low, high


def only_found_by(pool: Pool, arm: str, margin: float) -> int:
    """Terminations within the margin that no other arm has."""
    own: set[int] = set().union(*(search.found for search in searches_of(pool, arm)))
    others: set[int] = set().union(*(search.found for search in pool.searches if search.run.arm != arm))
    return len((own - others) & set(pool.within(margin).tolist()))


def calls_forgone(pool: Pool, search: Search) -> float:
    """Force calls more than its own that the pool's fastest search would have made in the same time."""
    fastest = min(other.run.wall_s / other.run.calls for other in pool.searches)
    return search.run.wall_s / fastest - search.run.calls


def advantage(pool: Pool, arm: str, others: Sequence[str], margin: float, rng: np.random.Generator) -> Figure:
    """Distinct terminations of an arm for each one of the best other arm, medians over seeds, by all force calls.

    Arms are compared on the same draws of the pool's terminations.
    """
    sights = {name: [np.isfinite(first_sights(pool, s, margin)) for s in searches_of(pool, name)] for name in others}
    sights[arm] = [np.isfinite(first_sights(pool, s, margin)) for s in searches_of(pool, arm)]
    n = len(pool.within(margin))

    def ratio(weights: np.ndarray, seeds: Mapping[str, Sequence[int]]) -> float:
        counts = {name: median([float(weights[found[i]].sum()) for i in seeds[name]]) for name, found in sights.items()}
        best = max(counts[name] for name in others)
        return counts[arm] / best if best else np.inf

    value = ratio(np.ones(n), {name: range(len(found)) for name, found in sights.items()})
    drawn = [
        ratio(
            np.bincount(rng.integers(n, size=n), minlength=n).astype(float),
            {name: rng.integers(len(found), size=len(found)).tolist() for name, found in sights.items()},
        )
        for _ in range(BOOTSTRAPS if n else 0)
    ]
    low, high = _percentiles(drawn) if drawn else (0.0, 0.0)
    return Figure(value, low, high)


def hypervolume(pool: Pool, search: Search, start: Line, calls: float) -> float:
    """Share of the area between the start's γ(Δμ_O) and the pooled envelope that a search has won after so many calls.

    Parameters
    ----------
    start : Line
        Of the relaxed start that all searches are given.
    """
    known = {str(i): line for i, (when, line) in enumerate(search.lines) if when <= calls}
    if not known:
        return 0.0
    known["start"] = start
    corners = sorted({edge for e in (pool.envelope, _envelope(pool, known)) for w in e.windows for edge in _edges(w)})
    grid = np.array(corners)
    own = np.array([_envelope(pool, known).at(x) for x in grid])
    pooled = np.array([pool.envelope.at(x) for x in grid])
    begin = np.array([start.at(x) for x in grid])
    # all three are straight between corners, so that the trapezoidal rule is exact
    whole = float(np.trapezoid(begin - pooled, grid))
    return float(np.trapezoid(begin - own, grid)) / whole if whole > 0 else 1.0


def _envelope(pool: Pool, lines: dict) -> Envelope:
    windows = pool.envelope.windows
    return Envelope(lines, (windows[0].start, windows[-1].stop))


def _edges(window) -> tuple[float, float]:
    return window.start, window.stop


def found_again(pool: Pool, arm: str) -> tuple[float, float]:
    """Share of withheld terminations found again, and the median force calls of all of them over all seeds."""
    calls = [np.inf if c is None else float(c) for search in searches_of(pool, arm) for c in search.again.values()]
    if not calls:
        return 1.0, 0.0
    return float(np.mean(np.isfinite(calls))), median(calls)
