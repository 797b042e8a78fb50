"""Which structures of an iteration would teach the potential most: the least certain, and unlike one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relax.worker import evaluate_task, plain_arrays
from searcher.campaign.campaign import Campaign
from searcher.campaign.relaxing import require_same_potential
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.config import ImproveSection
from searcher.errors import SearchFailed
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.known_set import KnownSet

CHUNK = 8
POOL_PER_PICK = 3
"""So many of the least certain compete for each place in a round."""
WENT_WRONG = ("exploding", "overlap", "force_too_large", "energy_not_finite", "leaving_window")
"""Reasons that may be the potential's fault rather than the proposal's."""


@dataclass(frozen=True)
class Pick:
    """What a round labels.

    Attributes
    ----------
    uncertain : list of str
        Relaxed candidates, in the order of choice.
    wrong : list of str
        Candidates whose relaxation failed in a way that the potential may have caused; labelled as proposed.
    deviations : dict of str to float
        Predicted standard deviation of the worst atom's energy in eV of every relaxed candidate of the iteration.
    """

    uncertain: list[str]
    wrong: list[str]
    deviations: dict[str, float]


def pick(campaign: Campaign, iteration: int, section: ImproveSection) -> Pick:
    """Choose among an iteration's candidates.

    Parameters
    ----------
    iteration : int
        One that has been judged.
    section : ImproveSection
    """
    candidates = campaign.ledger.candidates(iteration=iteration, reached=Gate.SELECTED)
    relaxed = [c for c in candidates if c.relaxed is not None]
    went_wrong = [c for c in candidates if c.relaxed is None and c.verdict != Verdict.OPEN and c.reason in WENT_WRONG]
    wrong = [c.id for c in went_wrong[: int(section.wrong_share * section.structures)]]
    deviations = worst_deviations(campaign, relaxed)
    count = section.structures - len(wrong)
    by_deviation = sorted(relaxed, key=lambda c: (-deviations[c.id], c.id))
    pool = [c for c in by_deviation if 1e3 * deviations[c.id] > section.least_error_mev][: POOL_PER_PICK * count]
    structures = {str(c.relaxed): campaign.ledger.structure(str(c.relaxed)) for c in pool}
    vectors = campaign.fingerprints.of(structures)
    described = [(c.id, found) for c in pool if (found := vectors[str(c.relaxed)]) is not None]
    return Pick(farthest_points(described, count), wrong, deviations)


def worst_deviations(campaign: Campaign, candidates: Sequence[Candidate]) -> dict[str, float]:
    """√(largest local variance) in eV of each relaxed candidate by the potential in use.

    Raises
    ------
    SearchFailed
        If a worker did not answer.
    """
    chunks = [candidates[i : i + CHUNK] for i in range(0, len(candidates), CHUNK)]
    payloads = [
        {
            "potential": campaign.potential.as_dict(),
            "structures": [plain_arrays(campaign.ledger.structure(str(c.relaxed))) for c in chunk],
            "variance": True,
        }
        for chunk in chunks
    ]
    found: dict[str, float] = {}
    for outcome in campaign.executor.map(evaluate_task, payloads):
        if outcome.result is None:
            raise SearchFailed(f"variances could not be computed: {outcome.failure}, {outcome.message}")
        require_same_potential(campaign, outcome.result)
        for candidate, variance in zip(chunks[outcome.index], outcome.result["local_variances"], strict=True):
            found[candidate.id] = float(np.sqrt(np.max(np.maximum(variance, 0.0))))
    return {c.id: found[c.id] for c in candidates}


def farthest_points(described: Sequence[tuple[str, LocalVectors]], count: int) -> list[str]:
    """A diverse choice: the first, then always the one whose κ to all chosen is largest.

    Parameters
    ----------
    described : sequence of (str, LocalVectors)
        Names and SOAP vectors of all atoms; ties go to the earlier.
    count : int
        How many are chosen, if there are so many.
    """
    if not described or count < 1:
        return []
    known = KnownSet()
    for name, vectors in described:
        known.add(name, vectors, 0.0)
    kappa = known.kappa_matrix([vectors for _, vectors in described])  # (n, n)
    chosen = [0]
    nearest = kappa[:, 0].copy()
    while len(chosen) < min(count, len(described)):
        nearest[chosen] = -1.0
        best = int(np.argmax(nearest))
        chosen.append(best)
        nearest = np.minimum(nearest, kappa[:, best])
    return [described[index][0] for index in chosen]
