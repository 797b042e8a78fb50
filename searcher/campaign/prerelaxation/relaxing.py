"""Shortlisted proposals, relaxed in the surrogate potential: where they lead, and how low."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from relax.potential import PotentialSpec
from relax.watching import MAX_CALLS
from relax.worker import relax_task
from searcher.campaign.arms.ranking import Guess
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.relaxing import relaxation_payload
from searcher.campaign.storage.candidate import Candidate, Verdict
from searcher.errors import EnvironmentProblem
from searcher.scoring.thermodynamics import Envelope, Line
from searcher.scoring.validity import check_validity

REASON = "surrogate_"
"""Begins the reasons of proposals that lead nowhere in it"""
MEV = 1e-3


@dataclass(frozen=True)
class Prerelaxed:
    """What relaxing proposals in the surrogate gave.

    Attributes
    ----------
    candidates : list of Candidate
        In the order of the given ones, with the structures that they relaxed to, or the reason why they need no force
        call.
    energies : mapping of str to float
        By id in eV, of those that are valid.
    starts : mapping of str to str
        By id the structures that they began with, but for those whose relaxations failed.
    evaluations : int
        Of the surrogate.
    """

    candidates: list[Candidate] = field(default_factory=list)
    energies: dict[str, float] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    evaluations: int = 0


def prerelaxed(
    campaign: Campaign, problem: SurfaceProblem, surrogate: PotentialSpec, candidates: Sequence[Candidate]
) -> Prerelaxed:
    """Relax candidates in the surrogate.

    Raises
    ------
    EnvironmentProblem
        If as many as are relaxed for one place in a wave, or more, all come to no end.
    """
    section = campaign.config.prerelaxation
    structures = {c.id: campaign.ledger.structure(str(c.proposed)) for c in candidates}
    payloads = []
    for candidate in candidates:
        payload = relaxation_payload(campaign, problem, structures[candidate.id])
        settings = {**payload["settings"], "max_calls": section.max_calls, "snapshots": 0}
        payloads.append({**payload, "potential": surrogate.as_dict(), "settings": settings})
    decided, energies, evaluations = {}, {}, 0
    for outcome in campaign.executor.map(relax_task, payloads):
        candidate = candidates[outcome.index]
        result = outcome.result
        if result is None:
            decided[candidate.id] = replace(candidate, verdict=Verdict.FAILED, reason=f"{REASON}{outcome.failure}")
            continue
        evaluations += int(result["force_calls"])
        if result["reason"] not in (None, MAX_CALLS):
            decided[candidate.id] = _rejected(candidate, result["reason"])
            continue
        atoms = structures[candidate.id]
        atoms.positions = np.asarray(result["positions"])
        template = problem.template
        validity = check_validity(atoms, template.n_frozen, problem.thresholds, template.frozen_positions)
        if not validity.valid:
            decided[candidate.id] = _rejected(candidate, validity.reasons[0])
            continue
        energies[candidate.id] = float(result["energy"])
        with campaign.ledger.transaction():
            decided[candidate.id] = replace(candidate, proposed=campaign.ledger.put_structure(atoms))
    all_failed = all(decided[c.id].verdict == Verdict.FAILED for c in candidates)
    if all_failed and len(candidates) >= section.candidates:
        raise EnvironmentProblem(
            f"none of {len(candidates)} relaxations in the surrogate potential ended "
            f"({decided[candidates[0].id].reason}); see `execution` for their time and memory"
        )
    starts = {c.id: str(c.proposed) for c in candidates if decided[c.id].verdict != Verdict.FAILED}
    return Prerelaxed([decided[c.id] for c in candidates], energies, starts, evaluations)


def promises(
    campaign: Campaign,
    problem: SurfaceProblem,
    candidates: Sequence[Candidate],
    energies: Mapping[str, float],
    known: Mapping[str, Line],
) -> dict[str, Guess]:
    """By id how high candidates are expected to end, from the surrogate's energies of where they stand.

    Parameters
    ----------
    energies : mapping of str to float
        In eV.
    known : mapping of str to Line
        γ(Δμ_O) of what is known, whose envelope heights are counted from.
    """
    envelope = Envelope(known, problem.delta_mu_o_range)
    deviation = campaign.config.prerelaxation.deviation_mev_per_A2 * MEV
    guesses = {}
    for candidate in candidates:
        if candidate.id in energies:
            line = problem.gamma(campaign.ledger.structure(str(candidate.proposed)), energies[candidate.id])
            guesses[candidate.id] = Guess(envelope.distance(line), deviation)
    return guesses


def _rejected(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, verdict=Verdict.REJECTED, reason=f"{REASON}{reason}")
