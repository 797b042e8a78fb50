"""Which proposals are worth a force call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from generators.proposal import Proposal
from searcher.campaign.arms.known import KnownBasins
from searcher.campaign.arms.ranking import Guess, guess_heights, in_order
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id
from searcher.config import ScreeningSection
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.novelty import greedy_unique
from searcher.scoring.surrogate import HeightSurrogate
from searcher.scoring.validity import check_validity

OXYGEN = 8
NOT_SELECTED = "not_selected"


def record_proposals(
    campaign: Campaign,
    problem: SurfaceProblem,
    iteration: int,
    arm: str,
    proposals: Sequence[tuple[int, Proposal]],
    first_index: int = 0,
) -> list[Candidate]:
    """Candidates from proposals with their seeds: decoded, within the allowed counts, valid; structures are stored."""
    template, candidates = problem.template, []
    for index, (seed, proposal) in enumerate(proposals, start=first_index):
        candidate = Candidate(
            id=candidate_id(iteration, arm, index),
            iteration=iteration,
            arm=arm,
            index=index,
            seed=seed,
            condition=proposal.condition,
            confidence=proposal.confidence if np.isfinite(proposal.confidence) else None,
        )
        if proposal.reason is not None:
            candidates.append(replace(candidate, verdict=Verdict.REJECTED, reason=proposal.reason))
            continue
        atoms = template.assemble(proposal.numbers, proposal.positions)
        candidate = replace(candidate, passed=Gate.DECODED, proposed=campaign.ledger.put_structure(atoms))
        if not problem.counts_allowed(proposal.numbers):
            candidates.append(replace(candidate, verdict=Verdict.REJECTED, reason="composition_out_of_range"))
            continue
        validity = check_validity(atoms, template.n_frozen, problem.thresholds, first_only=True)
        if validity.valid:
            candidates.append(replace(candidate, passed=Gate.VALID))
        else:
            candidates.append(replace(candidate, verdict=Verdict.REJECTED, reason=validity.reasons[0]))
    return candidates


def select(
    campaign: Campaign,
    problem: SurfaceProblem,
    candidates: Sequence[Candidate],
    known: KnownBasins,
    n_wanted: int,
    settings: ScreeningSection,
    kappa_min: float,
    surrogate: HeightSurrogate | None = None,
    served: Mapping[int, int] | None = None,
) -> list[Candidate]:
    """Choose what is relaxed; everything else ends with the reason why it is not.

    Proposals in the basin of something known, by κ against minima and recorded relaxation paths, and repeats of an
    earlier proposal are dropped; the rest is ranked, see `ranking`.

    Parameters
    ----------
    n_wanted : int
        How many at most.
    surrogate : HeightSurrogate, optional
        Taught by past relaxations.
    served : mapping of int to int, optional
        How many of each oxygen count had their turn before.
    """
    decided = {c.id: c for c in candidates}
    remaining = [c for c in candidates if not c.finished]
    structures = {c.id: campaign.ledger.structure(str(c.proposed)) for c in remaining}
    guesses: dict[str, Guess] = {}
    if remaining and (settings.known_basins or surrogate is not None):
        free = _describe(campaign, problem, remaining, structures, decided)
        remaining = [c for c in remaining if c.id in free]
        excess = {c.id: problem.excess_oxygen_per_area(structures[c.id]) for c in remaining}
        if settings.known_basins:
            remaining = _outside_known_basins(
                remaining, free, excess, known, kappa_min, settings.reach * kappa_min, decided
            )
        if surrogate is not None:
            guesses = guess_heights(surrogate, problem, {c.id: free[c.id] for c in remaining}, excess)
    counts = {c.id: oxygen_count(campaign, c) for c in remaining}
    ordered = in_order(remaining, counts, guesses, problem, settings, served or {})
    for place, candidate in enumerate(ordered):
        if place < n_wanted:
            decided[candidate.id] = replace(candidate, passed=Gate.SELECTED)
        else:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason=NOT_SELECTED)
    return list(decided.values())


def oxygen_count(campaign: Campaign, candidate: Candidate) -> int:
    """Oxygen atoms of a proposal, the frozen ones included."""
    return int(np.count_nonzero(campaign.ledger.structure(str(candidate.proposed)).numbers == OXYGEN))


def _describe(
    campaign: Campaign,
    problem: SurfaceProblem,
    candidates: Sequence[Candidate],
    structures: Mapping[str, Atoms],
    decided: dict[str, Candidate],
) -> dict[str, LocalVectors]:
    """SOAP vectors of the free atoms by candidate; what cannot be described is rejected."""
    described = campaign.fingerprints.of(structures, poison=True)
    campaign.fingerprints.forget(structures)
    free: dict[str, LocalVectors] = {}
    for candidate in candidates:
        vectors = described[candidate.id]
        if vectors is None:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="undescribable")
        else:
            free[candidate.id] = vectors.subset(range(problem.template.n_frozen, len(structures[candidate.id])))
    return free


def _outside_known_basins(
    candidates: Sequence[Candidate],
    free: Mapping[str, LocalVectors],
    excess: Mapping[str, float],
    known: KnownBasins,
    kappa_min: float,
    kappa_known: float,
    decided: dict[str, Candidate],
) -> list[Candidate]:
    fresh: list[Candidate] = []
    nearest_known = known.nearest([free[c.id] for c in candidates])
    for candidate, (kappa, nearest) in zip(candidates, nearest_known, strict=True):
        if kappa <= kappa_known:
            dropped = replace(candidate, kappa=kappa, nearest=nearest, reason="known_basin")
            decided[candidate.id] = replace(dropped, verdict=Verdict.REJECTED)
        else:
            fresh.append(candidate)
    kept = set(greedy_unique([free[c.id] for c in fresh], kappa_min, [excess[c.id] for c in fresh]))
    for row, candidate in enumerate(fresh):
        if row not in kept:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="duplicate_proposal")
    return [candidate for row, candidate in enumerate(fresh) if row in kept]
