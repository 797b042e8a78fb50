"""Which proposals are worth a force call."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from generators.proposal import Proposal
from searcher.campaign.campaign import Campaign
from searcher.campaign.candidate import Candidate, Gate, Verdict, candidate_id
from searcher.campaign.known import KnownBasins
from searcher.campaign.problem import SurfaceProblem
from searcher.config import ScreeningSection
from searcher.scoring.descriptors import LocalVectors
from searcher.scoring.novelty import greedy_unique
from searcher.scoring.validity import check_validity


def record_proposals(
    campaign: Campaign, problem: SurfaceProblem, iteration: int, arm: str, proposals: Sequence[tuple[int, Proposal]]
) -> list[Candidate]:
    """Candidates from proposals with their seeds: decoded, within the allowed counts, valid; structures are stored."""
    template, candidates = problem.template, []
    for index, (seed, proposal) in enumerate(proposals):
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
        validity = check_validity(atoms, template.n_frozen, problem.thresholds)
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
) -> list[Candidate]:
    """Choose what is relaxed; everything else ends with the reason why it is not.

    Proposals in the basin of something known, by κ against minima and recorded relaxation paths, and repeats of an
    earlier proposal are dropped; from the rest a batch is taken in turns over oxygen counts.
    """
    decided = {c.id: c for c in candidates}
    remaining = [c for c in candidates if not c.finished]
    if settings.known_basins and remaining:
        remaining = _outside_known_basins(campaign, problem, remaining, known, kappa_min, decided)
    for rank, candidate in enumerate(_in_turns(campaign, problem, remaining, settings.composition_quota)):
        if rank < n_wanted:
            decided[candidate.id] = replace(candidate, passed=Gate.SELECTED)
        else:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="not_selected")
    return list(decided.values())


def _outside_known_basins(
    campaign: Campaign,
    problem: SurfaceProblem,
    candidates: Sequence[Candidate],
    known: KnownBasins,
    kappa_min: float,
    decided: dict[str, Candidate],
) -> list[Candidate]:
    structures = {str(c.proposed): campaign.ledger.structure(str(c.proposed)) for c in candidates}
    described = campaign.fingerprints.of(structures)
    campaign.fingerprints.forget(structures)
    n_frozen = problem.template.n_frozen
    usable: list[tuple[Candidate, LocalVectors]] = []
    for candidate in candidates:
        atoms, vectors = structures[str(candidate.proposed)], described[str(candidate.proposed)]
        if vectors is None:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="undescribable")
        else:
            usable.append((candidate, vectors.subset(range(n_frozen, len(atoms)))))
    fresh: list[tuple[Candidate, LocalVectors]] = []
    for (candidate, vectors), (kappa, nearest) in zip(usable, known.nearest([v for _, v in usable]), strict=True):
        if kappa <= kappa_min:
            dropped = replace(candidate, kappa=kappa, nearest=nearest, reason="known_basin")
            decided[candidate.id] = replace(dropped, verdict=Verdict.REJECTED)
        else:
            fresh.append((candidate, vectors))
    excess = [problem.excess_oxygen_per_area(structures[str(c.proposed)]) for c, _ in fresh]
    kept = set(greedy_unique([vectors for _, vectors in fresh], kappa_min, excess))
    for row, (candidate, _) in enumerate(fresh):
        if row not in kept:
            decided[candidate.id] = replace(candidate, verdict=Verdict.REJECTED, reason="duplicate_proposal")
    return [candidate for row, (candidate, _) in enumerate(fresh) if row in kept]


def _in_turns(
    campaign: Campaign, problem: SurfaceProblem, candidates: Sequence[Candidate], quota: bool
) -> list[Candidate]:
    """By id, or one of each oxygen count after the other."""
    if not quota:
        return list(candidates)
    groups: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        numbers, _ = problem.template.free_part(campaign.ledger.structure(str(candidate.proposed)))
        groups[int(np.count_nonzero(numbers == 8))].append(candidate)
    ranked = [(rank, count, c) for count, group in sorted(groups.items()) for rank, c in enumerate(group)]
    return [c for _, _, c in sorted(ranked, key=lambda row: row[:2])]
