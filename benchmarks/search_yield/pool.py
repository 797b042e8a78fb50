"""What all arms together have found on a cell: one set of terminations, one envelope, one rule for everybody."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from benchmarks.search_yield.frame import Frame
from benchmarks.search_yield.records import END, ArmRun, Relaxation
from searcher.campaign.storage.candidate import slab
from searcher.scoring.novelty import Fingerprint, same_termination
from searcher.scoring.thermodynamics import Envelope, Line
from searcher.scoring.validity import check_validity

WIDEST_MARGIN = 0.025
"""eV/Å²: terminations further above the pooled envelope are not told apart."""
EXCESS_DIGITS = 4


@dataclass(frozen=True)
class Termination:
    """A distinct valid termination, as the lowest of its relaxations has it.

    Attributes
    ----------
    height : float
        In eV/Å² above the pooled envelope at its best Δμ_O.
    """

    line: Line
    height: float


@dataclass(frozen=True)
class Search:
    """One arm's run, judged.

    Attributes
    ----------
    minima : int
        Converged, valid relaxations.
    found : dict of int to int
        Force calls at the first sight of each termination of the pool, by its index.
    again : dict of str to (int or None)
        Force calls at which each withheld termination was found again.
    lines : list of (int, Line)
        γ(Δμ_O) of every valid minimum and the force calls at which it was there.
    reasons : dict of str to int
        Why relaxations do not count.
    """

    run: ArmRun
    minima: int
    found: dict[int, int]
    again: dict[str, int | None]
    lines: list[tuple[int, Line]]
    reasons: dict[str, int]


@dataclass(frozen=True)
class Pool:
    """Terminations within `WIDEST_MARGIN` of the envelope of everything found, the lowest first."""

    terminations: list[Termination]
    envelope: Envelope
    searches: list[Search]

    def within(self, margin: float) -> np.ndarray:
        """Indices of the terminations at most so many eV/Å² above the envelope."""
        return np.flatnonzero([t.height <= margin for t in self.terminations])


@dataclass(frozen=True)
class _Minimum:
    run: int
    calls: int
    atoms: Atoms
    line: Line


def pool_of(frame: Frame, runs: Sequence[ArmRun]) -> Pool:
    """Judge every relaxation of all runs alike.

    Relaxations that ended after a run's budget do not count.

    Raises
    ------
    ValueError
        If nothing valid was found at all.
    """
    minima, reasons = _valid_minima(frame, runs)
    if not minima:
        raise ValueError(f"`runs` holds {len(runs)} searches of {frame.cell.name}, none of which has a valid minimum")
    envelope = Envelope({str(i): m.line for i, m in enumerate(minima)}, frame.delta_mu_o_range)
    heights = [envelope.distance(m.line) for m in minima]
    order = sorted(range(len(minima)), key=lambda i: (heights[i], minima[i].run, minima[i].calls))
    prints = frame.describe({str(i): m.atoms for i, m in enumerate(minima)})
    terminations, membership = _distinct(frame, minima, heights, [i for i in order if str(i) in prints], prints)
    again = _found_again(frame, minima, prints, len(runs))
    searches = []
    for number, run in enumerate(runs):
        own = [i for i, m in enumerate(minima) if m.run == number]
        found: dict[int, int] = {}
        for i in sorted(own, key=lambda i: minima[i].calls):
            if i in membership:
                found.setdefault(membership[i], minima[i].calls)
        lines = [(minima[i].calls, minima[i].line) for i in own]
        searches.append(Search(run, len(own), found, again[number], lines, dict(reasons[number])))
    return Pool(terminations, envelope, searches)


def _valid_minima(frame: Frame, runs: Sequence[ArmRun]) -> tuple[list[_Minimum], list[Counter[str]]]:
    minima, reasons = [], []
    for number, run in enumerate(runs):
        counted: Counter[str] = Counter()
        for relaxation in run.relaxations:
            if relaxation.origin == END:
                continue
            if relaxation.calls > run.budget:
                counted["after_budget"] += 1
            elif relaxation.energy is None or not relaxation.numbers:
                counted["not_converged"] += 1
            else:
                atoms, reason = _judged(frame, relaxation)
                if reason is None:
                    line = frame.problem.gamma(atoms, relaxation.energy)
                    minima.append(_Minimum(number, relaxation.calls, atoms, line))
                else:
                    counted[reason] += 1
        reasons.append(counted)
    return minima, reasons


def _judged(frame: Frame, relaxation: Relaxation) -> tuple[Atoms, str | None]:
    problem, template = frame.problem, frame.problem.template
    positions = np.array(relaxation.positions)
    positions[:, :2] %= template.cell[:2]
    frozen = positions[: template.n_frozen]
    off = frozen - template.frozen_positions
    off[:, :2] -= template.cell[:2] * np.round(off[:, :2] / template.cell[:2])
    positions[: template.n_frozen] = template.frozen_positions + off
    atoms = slab(np.array(relaxation.numbers), positions, np.diag(template.cell), template.n_frozen)
    if not problem.counts_allowed(template.free_part(atoms)[0]):
        return atoms, "composition_out_of_range"
    validity = check_validity(atoms, template.n_frozen, problem.thresholds, template.frozen_positions)
    return atoms, None if validity.valid else validity.reasons[0]


def _distinct(
    frame: Frame,
    minima: Sequence[_Minimum],
    heights: Sequence[float],
    order: Sequence[int],
    prints: dict[str, Fingerprint],
) -> tuple[list[Termination], dict[int, int]]:
    """Terminations near the envelope, and which of them each minimum is; the lowest relaxation stands for all."""
    terminations: list[Termination] = []
    standing: dict[float, list[tuple[int, Fingerprint]]] = {}
    membership: dict[int, int] = {}
    for i in order:
        if heights[i] > WIDEST_MARGIN:
            break
        own = prints[str(i)]
        same_excess = standing.setdefault(round(own.excess_o_per_area, EXCESS_DIGITS), [])
        known = next((t for t, other in same_excess if same_termination(own, other, frame.kappa_min)), None)
        if known is None:
            known = len(terminations)
            terminations.append(Termination(minima[i].line, heights[i]))
            same_excess.append((known, own))
        membership[i] = known
    return terminations, membership


def _found_again(
    frame: Frame, minima: Sequence[_Minimum], prints: dict[str, Fingerprint], n_runs: int
) -> list[dict[str, int | None]]:
    targets = frame.describe({f"withheld {label}": atoms for label, atoms in frame.withheld.items()})
    again: list[dict[str, int | None]] = [dict.fromkeys(frame.withheld) for _ in range(n_runs)]
    for i, minimum in sorted(enumerate(minima), key=lambda pair: pair[1].calls):
        for label in frame.withheld:
            target = targets[f"withheld {label}"]
            unseen = again[minimum.run][label] is None and str(i) in prints
            if unseen and same_termination(target, prints[str(i)], frame.kappa_min):
                again[minimum.run][label] = minimum.calls
    return again
