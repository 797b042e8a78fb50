"""Candidates through the relaxation workers, each result written to the ledger as it comes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from relax.worker import plain_arrays, relax_task
from searcher.campaign.campaign import Campaign
from searcher.campaign.early_stopping import StopPlan
from searcher.campaign.problem import SurfaceProblem
from searcher.campaign.storage.candidate import Candidate, Gate, Verdict
from searcher.errors import EnvironmentProblem
from searcher.scoring.validity import check_validity

Progress = Callable[[int], None]
WINDOW_SLACK = 1.5  # Å


def relax_candidates(
    campaign: Campaign,
    problem: SurfaceProblem,
    candidates: Sequence[Candidate],
    progress: Progress = lambda calls: None,
    stops: Mapping[str, StopPlan] | None = None,
) -> None:
    """Relax every candidate that has no result yet, what takes longest first.

    A result is one transaction: structure, path, energy and the gates passed. Failures end a candidate with the
    reason that the relaxation or the executor gave.

    Parameters
    ----------
    progress : callable
        Told each relaxation's force calls when it has ended.
    stops : mapping of str to StopPlan, optional
        By arm, what ends a relaxation early.
    """
    stops = stops or {}
    structures = {c.id: campaign.ledger.structure(str(c.proposed)) for c in candidates}
    # the time of a force call grows with the atoms; the longest begun last would leave the other workers idle
    ordered = sorted(candidates, key=lambda c: (-len(structures[c.id]), c.id))
    payloads = []
    for candidate in ordered:
        atoms = structures[candidate.id]
        payload = relaxation_payload(campaign, problem, atoms)
        plan = stops.get(candidate.arm)
        payloads.append(payload if plan is None else {**payload, "criteria": plan.criteria(atoms)})
    for outcome in campaign.executor.map(relax_task, payloads):
        candidate = ordered[outcome.index]
        calls = 0 if outcome.result is None else int(outcome.result["force_calls"])
        with campaign.ledger.transaction():
            if outcome.result is None:
                failed = replace(candidate, verdict=Verdict.FAILED, reason=outcome.failure)
                campaign.ledger.update_candidate(failed)
            else:
                require_same_potential(campaign, outcome.result)
                record_relaxation(campaign, problem, candidate, outcome.result)
        progress(calls)


def require_same_potential(campaign: Campaign, result: dict[str, Any]) -> None:
    """Refuse an answer of a potential whose files were changed while the campaign ran.

    Raises
    ------
    EnvironmentProblem
        If the worker's potential is not the campaign's.
    """
    if result["potential_hash"] != campaign.potential_hash:
        raise EnvironmentProblem(
            f"a worker's potential hashes to {result['potential_hash']} but campaign `{campaign.config.name}` works "
            f"with {campaign.potential_hash}: its files were changed while it ran"
        )


def relaxation_window(problem: SurfaceProblem) -> tuple[float, float]:
    """Heights in Å that free atoms may reach while they relax."""
    template = problem.template
    return (template.free_floor - WINDOW_SLACK, template.free_ceiling + WINDOW_SLACK)


def relaxation_payload(campaign: Campaign, problem: SurfaceProblem, atoms: Atoms) -> dict[str, Any]:
    """Plain values for `relax_task`."""
    return {
        "potential": campaign.potential.as_dict(),
        **plain_arrays(atoms),
        "frozen": np.flatnonzero(atoms.get_tags() == 0),
        "settings": {"window": relaxation_window(problem), **campaign.config.relaxation},
    }


def record_relaxation(
    campaign: Campaign, problem: SurfaceProblem, candidate: Candidate, result: dict[str, Any]
) -> Candidate:
    """Write one relaxation's outcome; the caller holds the transaction."""
    ledger = campaign.ledger
    updated = replace(candidate, force_calls=int(result["force_calls"]), fmax=_finite(result["max_force"]))
    before = ledger.structure(str(candidate.proposed))
    if campaign.config.prerelaxation.on:
        ledger.add_frames(candidate.id, campaign.potential_hash, _frames(result))
    if result["reason"] is not None or not result["converged"]:
        updated = replace(updated, verdict=Verdict.REJECTED, reason=result["reason"] or "not_converged")
        ledger.update_candidate(updated)
        return updated
    after = before.copy()
    after.positions = np.asarray(result["positions"])
    validity = check_validity(after, problem.template.n_frozen, problem.thresholds, problem.template.frozen_positions)
    line = problem.gamma(after, float(result["energy"]))
    updated = replace(
        updated,
        passed=Gate.CONVERGED,
        relaxed=ledger.put_structure(after),
        gamma_zero=line.gamma0,
        gamma_slope=line.slope,
    )
    if not validity.valid:
        updated = replace(updated, verdict=Verdict.REJECTED, reason=f"relaxed_{validity.reasons[0]}")
    else:
        updated = replace(updated, passed=Gate.VALID_RELAXED)
    ledger.update_candidate(updated)
    ledger.set_energy(candidate.id, campaign.potential_hash, float(result["energy"]))
    ledger.add_snapshots(candidate.id, _path(campaign, before, result))
    return updated


def _path(campaign: Campaign, template: Atoms, result: dict[str, Any]) -> list[tuple[int, str, float]]:
    steps = []
    for call, positions, energy in zip(
        result["path_calls"], result["path_positions"], result["path_energies"], strict=True
    ):
        atoms = template.copy()
        atoms.positions = np.asarray(positions)
        steps.append((int(call), campaign.ledger.put_structure(atoms), float(energy) - float(result["energy"])))
    return steps


def _frames(result: dict[str, Any]) -> list[tuple[int, float, np.ndarray, np.ndarray]]:
    """All answers that were kept, the last one among them: call, energy, positions, forces."""
    path = zip(
        result["path_calls"], result["path_energies"], result["path_positions"], result["path_forces"], strict=True
    )
    frames = [(int(call), float(energy), positions, forces) for call, energy, positions, forces in path]
    if np.isfinite(result["energy"]):
        last = int(result["force_calls"])
        frames.append((last, float(result["energy"]), np.asarray(result["positions"]), np.asarray(result["forces"])))
    return frames


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
