"""The order in which proposals are relaxed: what may be low, what is uncertain, and something of everything."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate
from searcher.config import ScreeningSection
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.surrogate import HeightSurrogate, features

MEV = 1e-3


@dataclass(frozen=True)
class Guess:
    """What is expected of a proposal, in eV/Å² above the envelope of the known."""

    mean: float
    deviation: float


def guess_heights(
    surrogate: HeightSurrogate,
    problem: SurfaceProblem,
    described: Mapping[str, LocalVectors],
    excess: Mapping[str, float],
) -> dict[str, Guess]:
    """Guesses by candidate id.

    Parameters
    ----------
    described : mapping of str to LocalVectors
        Of the free atoms.
    excess : mapping of str to float
        Oxygen per Å².
    """
    names = list(described)
    found = surrogate.predict([features(described[name], problem.soap, excess[name]) for name in names])
    return {name: Guess(float(m), float(d)) for name, m, d in zip(names, found.mean, found.deviation, strict=True)}


def in_order(
    candidates: Sequence[Candidate],
    oxygen_counts: Mapping[str, int],
    guesses: Mapping[str, Guess],
    problem: SurfaceProblem,
    settings: ScreeningSection,
    served: Mapping[int, int],
) -> list[Candidate]:
    """Candidates in the order in which they deserve force calls.

    Within an oxygen count (or all together without `composition_quota`) the lowest optimistic guess goes first, put
    back for each one of its class that went before; a share of the places goes to the least certain. Without guesses
    the order is that of the ids. Oxygen counts take turns.

    Parameters
    ----------
    served : mapping of int to int
        How many of each oxygen count had their turn before; no turn comes twice.
    """
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: c.id):
        groups[oxygen_counts[candidate.id] if settings.composition_quota else 0].append(candidate)
    ranked = []
    for count, group in sorted(groups.items()):
        before = served.get(count, 0) if settings.composition_quota else sum(served.values())
        ordered = _by_guess(group, guesses, problem, settings, before) if guesses else group
        ranked += [(rank, count, candidate) for rank, candidate in enumerate(ordered, start=before)]
    return [candidate for _, _, candidate in sorted(ranked, key=lambda row: row[:2])]


def _by_guess(
    group: Sequence[Candidate],
    guesses: Mapping[str, Guess],
    problem: SurfaceProblem,
    settings: ScreeningSection,
    before: int,
) -> list[Candidate]:
    waiting = {c.id: c for c in group}
    optimistic = {n: guesses[n].mean - settings.deviations * guesses[n].deviation for n in waiting}
    classes = {n: problem.classes.classify(max(0.0, guesses[n].mean)) for n in waiting}
    chosen: list[Candidate] = []
    taken: Counter[int] = Counter()
    explored = round(settings.explored * before)
    while waiting:
        if explored < settings.explored * (before + len(chosen) + 1) - 0.5:
            name = min(waiting, key=lambda n: (-guesses[n].deviation, n))
            explored += 1
        else:
            handicap = settings.class_handicap_mev_per_A2 * MEV
            name = min(waiting, key=lambda n: (optimistic[n] + handicap * taken[classes[n]], n))
        taken[classes[name]] += 1
        chosen.append(waiting.pop(name))
    return chosen
