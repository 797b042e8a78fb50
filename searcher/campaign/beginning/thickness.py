"""How thin a template may be: surface energies of every termination against those on the thickest one looked at.

The work of a relaxation grows with the number of atoms, frozen ones included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from relax.worker import evaluate_task, plain_arrays, relax_task
from searcher.campaign.campaign import Campaign
from searcher.campaign.problem import SurfaceProblem, build_problem, gamma_of_bottom, template_settings
from searcher.campaign.relaxing import relaxation_payload
from searcher.config import CampaignConfig
from searcher.errors import EnvironmentProblem, SearchFailed
from searcher.structures.crystal import Crystal
from searcher.structures.templates import bottom_slab, seed_structures

MEV = 1e-3
TOLERANCE = 1.0  # meV/Å²
THICKNESSES = (2.0, 5.0, 8.0, 11.0)  # Å
FINE = {"fmax": 0.02, "max_calls": 400}
"""At the usual 0.1 eV/Å a relaxation may end 1 meV/Å² above its minimum, which is what is to be told apart."""


@dataclass(frozen=True)
class ThicknessRow:
    """One template.

    Attributes
    ----------
    thickness : float
        Least frozen material in Å that was asked for.
    n_frozen : int
        Frozen atoms in the (1×1) cell.
    gamma : dict of str to float
        γ at the campaign's Δμ_O by termination, in meV/Å²; one that does not relax to a minimum is left out.
    """

    thickness: float
    n_frozen: int
    gamma: dict[str, float]

    def largest_difference(self, other: "ThicknessRow") -> float:
        """In meV/Å², infinite where a termination of the other is missing."""
        return max(abs(self.gamma.get(name, np.inf) - gamma) for name, gamma in other.gamma.items())


def compare_thicknesses(
    campaign: Campaign, problem: SurfaceProblem, thicknesses: Sequence[float] = THICKNESSES
) -> list[ThicknessRow]:
    """γ of the facet's terminations in its (1×1) cell on templates of rising thickness; equal templates once.

    Raises
    ------
    SearchFailed
        If no termination relaxes on the thickest template.
    """
    rows: list[ThicknessRow] = []
    for thickness in sorted(thicknesses):
        row = _row(campaign, problem, thickness)
        if not rows or row.n_frozen != rows[-1].n_frozen:
            rows.append(row)
    if not rows[-1].gamma:
        raise SearchFailed(f"no termination relaxes on the template with {rows[-1].n_frozen} frozen atoms")
    return rows


def thinnest(rows: Sequence[ThicknessRow], tolerance: float = TOLERANCE) -> ThicknessRow:
    """The first whose every γ is within `tolerance` meV/Å² of the last one's."""
    return next(row for row in rows if row.largest_difference(rows[-1]) <= tolerance)


def print_thicknesses(rows: Sequence[ThicknessRow], delta_mu_o: float, console: Console) -> None:
    """The table, and which one to take."""
    table = Table(title=f"γ in meV/Å² at Δμ_O = {delta_mu_o:+.2f} eV by frozen thickness")
    for heading in ("frozen Å", "frozen atoms", *rows[-1].gamma, "largest difference"):
        table.add_column(heading, justify="right")
    for row in rows:
        gammas = [f"{row.gamma[name]:.2f}" if name in row.gamma else "none" for name in rows[-1].gamma]
        table.add_row(f"{row.thickness:g}", str(row.n_frozen), *gammas, f"{row.largest_difference(rows[-1]):.2f}")
    console.print(table)
    chosen = thinnest(rows)
    console.print(f"surface.frozen_thickness: {chosen.thickness:g} is enough for {TOLERANCE:g} meV/Å²")


def _row(campaign: Campaign, problem: SurfaceProblem, thickness: float) -> ThicknessRow:
    surface = campaign.config.surface.model_copy(
        update={"frozen_thickness": thickness, "repeat": (1, 1), "metal_count": None, "oxygen_count": None}
    )
    config = campaign.config.model_copy(
        update={"surface": surface, "grid": campaign.config.grid.model_copy(update={"allow_coarse": True})}
    )
    references = problem.references
    crystal = Crystal(problem.metal, references.a, references.c, references.u)
    bottom = bottom_slab(crystal, surface.facet, template_settings(surface))
    gamma_bottom = gamma_of_bottom(bottom, _energy(campaign, bottom), references.energy_bulk)
    own = build_problem(config, references, gamma_bottom)
    starts = seed_structures(crystal, surface.facet, (1, 1), template_settings(surface))
    return ThicknessRow(thickness, own.template.n_frozen, _gammas(campaign, own, starts, config))


def _gammas(
    campaign: Campaign, problem: SurfaceProblem, starts: dict[str, Atoms], config: CampaignConfig
) -> dict[str, float]:
    labels = list(starts)
    payloads = [relaxation_payload(campaign, problem, starts[label]) for label in labels]
    payloads = [{**payload, "settings": {**payload["settings"], **FINE}} for payload in payloads]
    found: dict[str, float] = {}
    for outcome in campaign.executor.map(relax_task, payloads):
        label = labels[outcome.index]
        if outcome.result is not None and outcome.result["converged"]:
            line = problem.gamma(starts[label], float(outcome.result["energy"]))
            found[label] = line.at(config.conditioning.delta_mu_o) / MEV
    return {label: found[label] for label in labels if label in found}


def _energy(campaign: Campaign, atoms: Atoms) -> float:
    payload = {"potential": campaign.potential.as_dict(), "structures": [plain_arrays(atoms)]}
    (outcome,) = campaign.executor.map(evaluate_task, [payload])
    if outcome.result is None or outcome.result["reasons"][0] is not None:
        why = outcome.failure if outcome.result is None else outcome.result["reasons"][0]
        raise EnvironmentProblem(f"the potential gives no energy of the template's bottom: {why}")
    return float(outcome.result["energies"][0])
