"""Lattice and surface energies of one potential, to be set beside those of another."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from ase.optimize import LBFGS

from relax.oxide import RUO2, Oxide
from relax.potential import PotentialError
from relax.progress import shown
from relax.references import References, measure_references

SLAB_FMAX = 0.03
"""eV/Å; leaves less than 0.3 meV/Å² in a surface energy of (110)."""
SLAB_STEPS = 250
DISPLACEMENT_DIGITS = 4

SlabsForLattice = Callable[[float, float, float], Mapping[str, Mapping[str, Atoms]]]
"""Given a, c (Å) and u: symmetric slabs with two equal faces, by facet and the name of their termination."""


@dataclass(frozen=True)
class FacetFigures:
    """What a potential says of one facet.

    Attributes
    ----------
    gamma : mapping of str to float
        Relaxed surface energies in eV/Å² at Δμ_O = 0 against half of the potential's own O2 energy; NaN where a slab
        did not relax.
    excess_oxygen : mapping of str to int
        N_O − 2 N_metal of both faces together.
    area : float
        Å² of one face, the same for all.
    displacements : mapping of str to sequence, shape (n_atoms, 3)
        Å from the cut of the potential's own crystal to the minimum. A cut may relax into several minima, so that
        another potential's figures are of the same ones only if it begins there.
    """

    gamma: Mapping[str, float]
    excess_oxygen: Mapping[str, int]
    area: float
    displacements: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)

    def crossover(self, poorer: str, richer: str) -> float:
        """Δμ_O in eV above which the termination with more oxygen is the more stable one.

        Raises
        ------
        PotentialError
            If `richer` has no more oxygen than `poorer`.
        """
        more = self.excess_oxygen[richer] - self.excess_oxygen[poorer]
        if more <= 0:
            raise PotentialError(f"termination {richer!r} must have more oxygen than {poorer!r}")
        return 2 * self.area * (self.gamma[richer] - self.gamma[poorer]) / more


@dataclass(frozen=True)
class Labeller:
    """A reference calculator: ``"module:Callable"`` and its keyword arguments."""

    import_path: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in sorted(self.arguments.items()))
        return f"{self.import_path}({given})"

    def agrees_with(self, other: "Labeller") -> bool:
        """Whether both give the same labels: the device that computes them does not matter."""
        return self.import_path == other.import_path and self._decisive() == other._decisive()

    def _decisive(self) -> dict[str, Any]:
        return {name: value for name, value in self.arguments.items() if name != "device"}


@dataclass(frozen=True)
class SurfaceFigures:
    """What a potential says of crystal, molecule and metal, and of facets by their Miller indices.

    Attributes
    ----------
    references : References
    facets : mapping of str to FacetFigures
    labeller : Labeller or None
        Whose figures they are, if they are a labeller's; None in files that older versions wrote.
    oxide : Oxide
        What they are of; RuO2 in files that older versions wrote.
    """

    references: References
    facets: Mapping[str, FacetFigures]
    labeller: Labeller | None = None
    oxide: Oxide = RUO2


def write_surface_figures(figures: SurfaceFigures, path: Path) -> None:
    """Keep a labeller's figures as JSON, so that a check needs no labeller."""
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n")


def read_surface_figures(path: Path) -> SurfaceFigures:
    """Figures that `write_surface_figures` wrote.

    Raises
    ------
    PotentialError
        If the file does not exist or holds something else.
    """
    if not path.is_file():
        raise PotentialError(f"`{path}` does not exist; `searcher potential label` measures the labeller's figures")
    try:
        values = json.loads(path.read_text())
        facets = {facet: FacetFigures(**figures) for facet, figures in values["facets"].items()}
        labeller = Labeller(**values["labeller"]) if values.get("labeller") else None
        oxide = Oxide(**values["oxide"]) if "oxide" in values else RUO2
        return SurfaceFigures(References(**values["references"]), facets, labeller, oxide)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise PotentialError(f"`{path}` holds no surface figures ({error})") from error


def surface_figures(
    calculator: Calculator,
    digest: str,
    bulk_atoms: Atoms,
    slabs_for: SlabsForLattice,
    beside: SurfaceFigures | None = None,
    metal_structure: str = "hcp",
) -> SurfaceFigures:
    """Relax crystal, molecule, metal, and symmetric slabs cut from the potential's own crystal.

    Parameters
    ----------
    digest : str
        The potential's hash or name, for the record.
    bulk_atoms : ase.Atoms
        Conventional rutile cell, metal first.
    slabs_for : SlabsForLattice
    beside : SurfaceFigures, optional
        Of the potential that this one is compared with: relaxations begin at its minima.
    metal_structure : str
        Crystal of the pure metal.

    Raises
    ------
    PotentialError
        If crystal, molecule or metal do not relax, or `beside` was measured of other slabs.
    """
    references = measure_references(calculator, digest, bulk_atoms, metal_structure)
    metal = atomic_numbers[bulk_atoms.get_chemical_symbols()[0]]
    slabs = slabs_for(references.a, references.c, references.u)
    facets = {}
    for facet, cuts in shown(list(slabs.items()), "faces of each facet"):
        known = beside.facets.get(facet) if beside else None
        facets[facet] = _facet_figures(calculator, references, metal, cuts, known.displacements if known else {})
    return SurfaceFigures(references, facets)


def _facet_figures(
    calculator: Calculator,
    references: References,
    metal: int,
    cuts: Mapping[str, Atoms],
    displacements: Mapping[str, Sequence[Sequence[float]]],
) -> FacetFigures:
    gamma, excess, moved, area = {}, {}, {}, 0.0
    for name, cut in cuts.items():
        slab = _displaced(cut, displacements[name], name) if name in displacements else cut.copy()
        slab.calc = calculator
        relaxed = LBFGS(slab, logfile=os.devnull, maxstep=0.1).run(fmax=SLAB_FMAX, steps=SLAB_STEPS)
        n_metal = int(np.count_nonzero(slab.numbers == metal))
        excess[name] = int(np.count_nonzero(slab.numbers == atomic_numbers["O"])) - 2 * n_metal
        area = float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
        grand = (
            float(slab.get_potential_energy())
            - n_metal * references.energy_bulk
            - excess[name] * references.energy_o2 / 2
        )
        gamma[name] = grand / (2 * area) if relaxed else np.nan
        moved[name] = (slab.positions - cut.positions).round(DISPLACEMENT_DIGITS).tolist()
    return FacetFigures(gamma, excess, area, moved)


def _displaced(cut: Atoms, displacements: Sequence[Sequence[float]], name: str) -> Atoms:
    if np.shape(displacements) != (len(cut), 3):
        raise PotentialError(
            f"termination {name!r} has {len(cut)} atoms here but was measured beside with {len(displacements)}: "
            "the other figures are of other slabs; measure them again"
        )
    slab = cut.copy()
    slab.positions += np.asarray(displacements)
    return slab
