"""The order in which proposals are relaxed: what may be low, what is uncertain, and something of everything."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import ndtr

from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate
from searcher.config import ScreeningSection
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.surrogate import HeightSurrogate, features

MEV = 1e-3


@dataclass(frozen=True)
class Guess:
    """What is expected of a proposal, in eV/Å² above the envelope of the known.

    Attributes
    ----------
    mean, deviation : float
    new : float
        Probability that it relaxes to something that is not known.
    """

    mean: float
    deviation: float
    new: float = 1.0

    def optimistic(self, settings: ScreeningSection) -> float:
        """How low it may be hoped to relax."""
        return self.mean - settings.deviations * self.deviation

    def gain(self, margin: float, put_back: float = 0.0) -> float:
        """By how much in eV/Å² it is expected to come below a margin, as something new.

        Expected improvement times the probability of the constraint (Jones et al., J. Glob. Optim. 13, 455 (1998);
        Gardner et al., ICML 2014).

        Parameters
        ----------
        margin : float
            Above the envelope, in eV/Å².
        put_back : float
            Added to the mean.
        """
        below = margin - self.mean - put_back
        if self.deviation <= 0.0:
            return self.new * max(0.0, below)
        z = below / self.deviation
        return self.new * float(below * ndtr(z) + self.deviation * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))


def guess_heights(
    surrogate: HeightSurrogate,
    problem: SurfaceProblem,
    described: Mapping[str, LocalVectors],
    excess: Mapping[str, float],
    new: Mapping[str, float] | None = None,
) -> dict[str, Guess]:
    """Guesses by candidate id.

    Parameters
    ----------
    described : mapping of str to LocalVectors
        Of the free atoms.
    excess : mapping of str to float
        Oxygen per Å².
    new : mapping of str to float, optional
        Probability that it relaxes to something new.
    """
    names, told = list(described), new or {}
    found = surrogate.predict([features(described[name], problem.soap, excess[name]) for name in names])
    return {
        name: Guess(float(mean), float(deviation), told.get(name, 1.0))
        for name, mean, deviation in zip(names, found.mean, found.deviation, strict=True)
    }


def n_worth_calls(guesses: Iterable[Guess], settings: ScreeningSection, margin: float) -> int:
    """How many may be hoped to relax to below the margin, and the share that is explored besides.

    Parameters
    ----------
    margin : float
        Of acceptance, in eV/Å².
    """
    return round(n_hopeful(guesses, settings, margin) / (1.0 - min(settings.explored, 0.5)))


def n_hopeful(guesses: Iterable[Guess], settings: ScreeningSection, margin: float) -> int:
    """How many may be hoped to relax to below the margin (eV/Å²)."""
    return sum(guess.optimistic(settings) <= margin for guess in guesses)


def in_order(
    candidates: Sequence[Candidate],
    oxygen_counts: Mapping[str, int],
    guesses: Mapping[str, Guess],
    problem: SurfaceProblem,
    settings: ScreeningSection,
    served: Mapping[int, int],
    margin: float,
) -> list[Candidate]:
    """Candidates in the order in which they deserve force calls.

    Within an oxygen count (or all together without `composition_quota`) the largest expected gain goes first, or the
    lowest optimistic guess, put back for each one of its class that went before; a share of the places goes to the
    least certain, and among equally uncertain ones to the lowest of the oxygen count that had fewest. Without guesses
    the order is that of the ids. Oxygen counts take turns.

    Parameters
    ----------
    margin : float
        Of acceptance, in eV/Å².
    served : mapping of int to int
        How many of each oxygen count had their turn before; no turn comes twice.
    """
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: c.id):
        groups[oxygen_counts[candidate.id] if settings.composition_quota else 0].append(candidate)
    ranked = []
    for count, group in sorted(groups.items()):
        before = served.get(count, 0) if settings.composition_quota else sum(served.values())
        had = Counter(served)
        ordered = _by_guess(group, oxygen_counts, guesses, problem, settings, had, before, margin) if guesses else group
        ranked += [(rank, count, candidate) for rank, candidate in enumerate(ordered, start=before)]
    return [candidate for _, _, candidate in sorted(ranked, key=lambda row: row[:2])]


def _by_guess(
    group: Sequence[Candidate],
    oxygen_counts: Mapping[str, int],
    guesses: Mapping[str, Guess],
    problem: SurfaceProblem,
    settings: ScreeningSection,
    had: Counter[int],
    before: int,
    margin: float,
) -> list[Candidate]:
    waiting = {c.id: c for c in group}
    classes = {n: problem.classes.classify(max(0.0, guesses[n].mean)) for n in waiting}
    handicap = settings.class_handicap_mev_per_A2 * MEV
    chosen: list[Candidate] = []
    taken: Counter[int] = Counter()
    explored = round(settings.explored * before)
    while waiting:
        if explored < settings.explored * (before + len(chosen) + 1) - 0.5:
            name = min(waiting, key=lambda n: _least_known(guesses[n], had[oxygen_counts[n]], n))
            explored += 1
        elif settings.rank == "gain":
            name = min(waiting, key=lambda n: (-guesses[n].gain(margin, handicap * taken[classes[n]]), n))
        else:
            name = min(waiting, key=lambda n: (guesses[n].optimistic(settings) + handicap * taken[classes[n]], n))
        taken[classes[name]] += 1
        had[oxygen_counts[name]] += 1
        chosen.append(waiting.pop(name))
    return chosen


def _least_known(guess: Guess, n_had: int, name: str) -> tuple[float, int, float, str]:
    """The smaller, the more there is to learn; `n_had` have had their turn of the same oxygen count."""
    return -guess.new * guess.deviation, n_had, guess.mean, name
