"""Which proposals are worth a force call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from generators.proposal import Proposal
from searcher.campaign.arms.known import KnownBasins
from searcher.campaign.arms.proposal_checks import Nearest, assembled, nearest_known
from searcher.campaign.arms.ranking import Guess, guess_heights, in_order, n_worth_calls
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict, candidate_id
from searcher.config import ScreeningSection
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.newness import Newness
from searcher.scoring.novelty import greedy_unique
from searcher.scoring.surrogate import HeightSurrogate

OXYGEN = 8
MEV = 1e-3
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
    candidates = []
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
        atoms, reason = assembled(problem, proposal)
        candidate = replace(candidate, passed=Gate.DECODED, proposed=campaign.ledger.put_structure(atoms))
        if reason is None:
            candidates.append(replace(candidate, passed=Gate.VALID))
        else:
            candidates.append(replace(candidate, verdict=Verdict.REJECTED, reason=reason))
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
    newness: Newness | None = None,
    promised: Mapping[str, Guess] | None = None,
    n_least: int = 1,
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
    newness : Newness, optional
        Taught by past relaxations; selected candidates keep the κ that it is asked about.
    promised : mapping of str to Guess, optional
        By id what is expected of candidates, where it is told better than by `surrogate`. So well that what is expected
        above the margin is left out, but for the explored share and the best ones.
    n_least : int
        How many of the best these are.
    """
    decided = {c.id: c for c in candidates}
    remaining = [c for c in candidates if not c.finished]
    structures = {c.id: campaign.ledger.structure(str(c.proposed)) for c in remaining}
    guesses: dict[str, Guess] = {}
    if remaining and (settings.known_basins or surrogate is not None or promised is not None):
        free = campaign.fingerprints.of_free(structures, problem.template.n_frozen)
        for candidate in remaining:
            if candidate.id not in free:
                decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="undescribable")
        remaining = [c for c in remaining if c.id in free]
        excess = {c.id: problem.excess_oxygen_per_area(structures[c.id]) for c in remaining}
        if settings.known_basins:
            nearest = nearest_known(known, free, settings.reach * kappa_min, begun=promised is None)
            remaining = _outside_known_basins(remaining, free, excess, nearest, kappa_min, decided)
        if promised is not None:
            guesses = {c.id: promised[c.id] for c in remaining}
        elif surrogate is not None:
            described = {c.id: free[c.id] for c in remaining}
            guesses = guess_heights(surrogate, problem, described, excess, _chances(newness, remaining))
    counts = {c.id: oxygen_count(structures[c.id]) for c in remaining}
    margin = campaign.config.acceptance.margin_mev_per_A2 * MEV
    ordered = in_order(remaining, counts, guesses, problem, settings, served or {}, margin)
    if promised is not None:
        n_wanted = min(n_wanted, max(n_least, n_worth_calls(guesses.values(), settings, margin)))
    for place, candidate in enumerate(ordered):
        if place < n_wanted:
            decided[candidate.id] = replace(candidate, passed=Gate.SELECTED)
        else:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason=NOT_SELECTED)
    return list(decided.values())


def _chances(newness: Newness | None, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Probability of something new, by id; empty where nothing is told."""
    told = [c for c in candidates if c.kappa is not None]
    if newness is None or not told:
        return {}
    chances = newness([float(c.kappa or 0.0) for c in told])
    return {c.id: float(chance) for c, chance in zip(told, chances, strict=True)}


def oxygen_count(atoms: Atoms) -> int:
    """Oxygen atoms of a slab, the frozen ones included."""
    return int(np.count_nonzero(atoms.numbers == OXYGEN))


def _outside_known_basins(
    candidates: Sequence[Candidate],
    free: Mapping[str, LocalVectors],
    excess: Mapping[str, float],
    nearest: Mapping[str, Nearest],
    kappa_min: float,
    decided: dict[str, Candidate],
) -> list[Candidate]:
    fresh: list[Candidate] = []
    for one in candidates:
        found = nearest[one.id]
        candidate = replace(one, kappa=found.kappa, nearest=found.name)
        if found.same_basin:
            decided[one.id] = replace(candidate, verdict=Verdict.REJECTED, reason="known_basin")
        else:
            fresh.append(candidate)
    kept = set(greedy_unique([free[c.id] for c in fresh], kappa_min, [excess[c.id] for c in fresh]))
    for row, candidate in enumerate(fresh):
        if row not in kept:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="duplicate_proposal")
    return [candidate for row, candidate in enumerate(fresh) if row in kept]
