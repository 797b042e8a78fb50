"""Shortlisted proposals, relaxed in the surrogate potential: where they lead, and how low."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

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


def prerelaxed(
    campaign: Campaign,
    problem: SurfaceProblem,
    surrogate: PotentialSpec,
    candidates: Sequence[Candidate],
    known: Mapping[str, Line],
) -> tuple[list[Candidate], dict[str, Guess], int]:
    """Candidates with the structures that they relax to, or the reason why they need no force call; what they promise.

    Parameters
    ----------
    known : mapping of str to Line
        γ(Δμ_O) of what is known, whose envelope heights are counted from.

    Returns
    -------
    candidates : list of Candidate
        In the order of the given ones.
    guesses : dict
        By id, of those that are valid.
    evaluations : int
        Of the surrogate.

    Raises
    ------
    EnvironmentProblem
        If no relaxation in it comes to any end.
    """
    section = campaign.config.prerelaxation
    structures = {c.id: campaign.ledger.structure(str(c.proposed)) for c in candidates}
    payloads = []
    for candidate in candidates:
        payload = relaxation_payload(campaign, problem, structures[candidate.id])
        settings = {**payload["settings"], "max_calls": section.max_calls, "snapshots": 0}
        payloads.append({**payload, "potential": surrogate.as_dict(), "settings": settings})
    envelope = Envelope(known, problem.delta_mu_o_range)
    deviation = section.deviation_mev_per_A2 * MEV
    decided, guesses, evaluations = {}, {}, 0
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
        guesses[candidate.id] = Guess(envelope.distance(problem.gamma(atoms, float(result["energy"]))), deviation)
        with campaign.ledger.transaction():
            decided[candidate.id] = replace(candidate, proposed=campaign.ledger.put_structure(atoms))
    if candidates and all(decided[c.id].verdict == Verdict.FAILED for c in candidates):
        raise EnvironmentProblem(
            f"none of {len(candidates)} relaxations in the surrogate potential ended "
            f"({decided[candidates[0].id].reason}); see `execution` for their time and memory"
        )
    return [decided[c.id] for c in candidates], guesses, evaluations


def _rejected(candidate: Candidate, reason: str) -> Candidate:
    return replace(candidate, verdict=Verdict.REJECTED, reason=f"{REASON}{reason}")
