"""An analytic Ru–O pair potential, so that tests of a whole campaign run in seconds without a fitted potential."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list

CUTOFF = 4.5  # Å
SWITCH_START = 3.0  # Å: from here the energy goes smoothly to zero at the cutoff
BOND_DEPTH, BOND_RATE, BOND_LENGTH = 2.2, 1.6, 1.7563  # eV, 1/Å, Å; crystal bonds are longer, stretched by Ru–Ru
OXYGEN_HEIGHT, OXYGEN_RANGE = 213.8, 0.35  # eV, Å
MOLECULE_DEPTH, MOLECULE_LENGTH, MOLECULE_WIDTH = 9.2, 1.21, 0.14  # eV, Å, Å
METAL_HEIGHT, METAL_RANGE = 69.6, 0.8  # eV, Å
CORE = {(8, 8): 0.9, (8, 44): 1.4, (44, 44): 1.9}
"""Å: nearer than this the energy rises in a straight line, so that forces stay bounded even where atoms coincide."""

PairCurve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class AnalyticRuO(Calculator):
    """Ru and O with bonds of about 1.97 Å, an O2 molecule behind a barrier, and bounded forces.

    The numbers are made to give a rutile crystal with lattice lengths near those of RuO2 and surfaces whose order of
    stability is plausible. They mean nothing beyond tests and examples.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]  # type: ignore[misc]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy in eV, forces in eV/Å, stress in eV/Å³.

        Raises
        ------
        ValueError
            If there are elements other than Ru and O.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None  # set by the base class just above
        numbers = self.atoms.numbers
        unknown = sorted(set(numbers.tolist()) - {8, 44})
        if unknown:
            raise ValueError(f"AnalyticRuO knows Ru and O only, not atomic numbers {unknown}")
        first, second, vectors, distances = neighbour_list(
            "ijDd",
            positions=self.atoms.positions,
            cell=self.atoms.cell.complete(),
            pbc=self.atoms.pbc,
            cutoff=CUTOFF,
        )
        energies, slopes = np.zeros(len(distances)), np.zeros(len(distances))
        lighter, heavier = np.minimum(numbers[first], numbers[second]), np.maximum(numbers[first], numbers[second])
        for (one, two), curve in CURVES.items():
            chosen = (lighter == one) & (heavier == two)
            energies[chosen], slopes[chosen] = _bounded(curve, distances[chosen], CORE[one, two])
        directions = vectors / np.maximum(distances, 1e-9)[:, None]  # (n_pairs, 3); zero where atoms coincide
        pulls = slopes[:, None] * directions
        forces = np.zeros((len(numbers), 3))
        for axis in range(3):
            forces[:, axis] = np.bincount(first, weights=pulls[:, axis], minlength=len(numbers))
        self.results = {"energy": float(energies.sum() / 2), "forces": forces}
        self.results["free_energy"] = self.results["energy"]
        if "stress" in properties:
            virial = np.einsum("pi,pj->ij", vectors, pulls) / 2
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())


def _bond(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Morse curve of Ru–O."""
    x = np.exp(-BOND_RATE * (r - BOND_LENGTH))
    return BOND_DEPTH * (x**2 - 2 * x), 2 * BOND_DEPTH * BOND_RATE * (x - x**2)


def _oxygens(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repulsion with the narrow well of a molecule."""
    wall = OXYGEN_HEIGHT * np.exp(-r / OXYGEN_RANGE)
    offset = (r - MOLECULE_LENGTH) / MOLECULE_WIDTH
    well = MOLECULE_DEPTH * np.exp(-(offset**2))
    return wall - well, -wall / OXYGEN_RANGE + 2 * offset / MOLECULE_WIDTH * well


def _metals(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wall = METAL_HEIGHT * np.exp(-r / METAL_RANGE)
    return wall, -wall / METAL_RANGE


CURVES: dict[tuple[int, int], PairCurve] = {(8, 8): _oxygens, (8, 44): _bond, (44, 44): _metals}


def _bounded(curve: PairCurve, r: np.ndarray, core: float) -> tuple[np.ndarray, np.ndarray]:
    """Energy and slope with a smooth end at the cutoff and a straight line inside the core."""
    outside = np.maximum(r, core)
    energy, slope = curve(outside)
    x = np.clip((outside - SWITCH_START) / (CUTOFF - SWITCH_START), 0.0, 1.0)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    switch_slope = -30 * x**2 * (1 - x) ** 2 / (CUTOFF - SWITCH_START)
    slope = slope * switch + energy * switch_slope
    energy = energy * switch
    return energy + slope * (r - outside), slope
