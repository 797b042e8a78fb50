"""What is said about a termination in tables, reports and exports."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms

from searcher.campaign.improvement.versions import potential_at
from searcher.campaign.storage.candidate import Candidate, Verdict
from searcher.campaign.storage.ledger import Ledger
from searcher.scoring.thermodynamics import Line

MEV = 1000.0
OXYGEN = 8
DEFAULT_DELTA_MU_O = -0.5


@dataclass(frozen=True)
class Termination:
    """A relaxed candidate as people read it.

    Attributes
    ----------
    formula, free_formula : str
        Of the whole slab, and of the atoms above the frozen ones.
    excess_oxygen_per_area : float
        (N_O − 2 N_metal) in 1/Å².
    line : Line or None
        γ(Δμ_O) in eV/Å².
    energy : float or None
        Of the slab in eV, by `potential`.
    potential : str
        Hash of the potential that γ and energy were measured with.
    kappa : float or None
        None also where nothing was known to compare with.
    """

    id: str
    arm: str
    iteration: int
    verdict: str
    reason: str | None
    formula: str
    free_formula: str
    n_atoms: int
    n_frozen: int
    excess_oxygen: int
    excess_oxygen_per_area: float
    area: float
    line: Line | None
    energy: float | None
    potential: str
    energy_class: int | None
    kappa: float | None
    nearest: str | None
    above_envelope: float | None
    force_calls: int
    fmax: float | None
    atoms: Atoms

    def row(self, delta_mu_o: float) -> dict[str, Any]:
        """A flat record with units in its names; γ at `delta_mu_o` (eV)."""
        record = {key: value for key, value in asdict(self).items() if key not in SHOWN_OTHERWISE}
        gamma = None if self.line is None else self.line.at(delta_mu_o) * MEV
        return {
            **record,
            "area_A2": self.area,
            "excess_oxygen_per_A2": self.excess_oxygen_per_area,
            "delta_mu_o_eV": delta_mu_o,
            "gamma_meV_per_A2": gamma,
            "gamma_meV_per_A2_at_0_eV": None if self.line is None else self.line.gamma0 * MEV,
            "gamma_slope_per_A2": None if self.line is None else self.line.slope,
            "above_envelope_meV_per_A2": None if self.above_envelope is None else self.above_envelope * MEV,
            "energy_eV": self.energy,
            "fmax_eV_per_A": self.fmax,
        }


SHOWN_OTHERWISE = ("area", "excess_oxygen_per_area", "line", "energy", "above_envelope", "fmax", "atoms")
"""fields whose names in a row carry their unit"""


def chosen_delta_mu_o(ledger: Ledger) -> float:
    """Δμ_O in eV at which the campaign's classes and tables are made."""
    config = ledger.fact("config", {})
    return float(config.get("conditioning", {}).get("delta_mu_o", DEFAULT_DELTA_MU_O))


def describe(ledger: Ledger, candidate: Candidate) -> Termination | None:
    """One candidate with its relaxed structure, or None if it has none."""
    if candidate.relaxed is None:
        return None
    atoms = ledger.structure(candidate.relaxed)
    n_frozen = int(np.count_nonzero(atoms.get_tags() == 0))
    area = float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))
    n_oxygen = int(np.count_nonzero(atoms.numbers == OXYGEN))
    excess = n_oxygen - 2 * (len(atoms) - n_oxygen)
    potential = potential_at(ledger, candidate.iteration)
    return Termination(
        id=candidate.id,
        arm=candidate.arm,
        iteration=candidate.iteration,
        verdict=candidate.verdict,
        reason=candidate.reason,
        formula=atoms.get_chemical_formula(mode="metal"),
        free_formula=atoms[n_frozen:].get_chemical_formula(mode="metal"),
        n_atoms=len(atoms),
        n_frozen=n_frozen,
        excess_oxygen=excess,
        excess_oxygen_per_area=excess / area,
        area=area,
        line=candidate.line,
        energy=ledger.energy(candidate.id, potential),
        potential=potential,
        energy_class=candidate.energy_class,
        kappa=finite(candidate.kappa),
        nearest=candidate.nearest,
        above_envelope=finite(candidate.above_envelope),
        force_calls=candidate.force_calls,
        fmax=finite(candidate.fmax),
        atoms=atoms,
    )


def described(ledger: Ledger, candidates: Iterable[Candidate]) -> list[Termination]:
    """All of the candidates that have a relaxed structure, by rising γ at the campaign's Δμ_O, then id."""
    delta_mu_o = chosen_delta_mu_o(ledger)
    found = [termination for c in candidates if (termination := describe(ledger, c)) is not None]
    return sorted(found, key=lambda t: (math.inf if t.line is None else t.line.at(delta_mu_o), t.id))


def finite(value: float | None) -> float | None:
    """None for what JSON and tables cannot hold."""
    return value if value is not None and math.isfinite(value) else None


def reference_labels(ledger: Ledger) -> dict[str, str]:
    """Names of seeds and known structures by id."""
    return {c.id: c.label or c.id for c in ledger.candidates(verdict=Verdict.REFERENCE)}
