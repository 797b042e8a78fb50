"""What a later version of a campaign's potential changes: references and the γ of older minima, no lattice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from searcher.campaign.problem import ReferenceEnergies, SurfaceProblem
from searcher.campaign.storage.candidate import Candidate
from searcher.campaign.storage.ledger import Ledger
from searcher.scoring.thermodynamics import Line


def potential_at(ledger: Ledger, iteration: int) -> str:
    """Hash of the potential that an iteration's γ were measured with."""
    found = [hashed for _, hashed, since, _, _ in ledger.potentials() if since <= iteration]
    return found[-1] if found else str(ledger.fact("potential"))


def current_potential(ledger: Ledger) -> str:
    """Hash of the potential in use."""
    found = ledger.potentials()
    return found[-1][1] if found else str(ledger.fact("potential"))


def with_references(problem: SurfaceProblem, record: Mapping[str, Any]) -> SurfaceProblem:
    """The problem with γ measured against a later version's own references, as its record keeps them."""
    return replace(
        problem,
        references=ReferenceEnergies(**record["references"]),
        template=replace(problem.template, gamma_bottom=record["gamma_bottom"]),
    )


def lines_under(
    ledger: Ledger, problem: SurfaceProblem, hashed: str, since: int, candidates: Sequence[Candidate]
) -> dict[str, Line]:
    """γ(Δμ_O) under a potential in use since an iteration, of minima whose recorded γ an older one made."""
    lines = {}
    for candidate in candidates:
        if candidate.iteration >= since or candidate.relaxed is None:
            continue
        energy = ledger.energy(candidate.id, hashed)
        if energy is not None:
            lines[candidate.id] = problem.gamma(ledger.structure(candidate.relaxed), energy)
    return lines
