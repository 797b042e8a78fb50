"""A GAP in machine code as an ASE calculator."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from ase.geometry import wrap_positions
from ase.stress import full_3x3_to_voigt_6_stress
from numba.typed import List
from scipy.interpolate import CubicSpline

from relax.compiled_gap import machine_code
from relax.compiled_gap.parameters import GapParameters, NotCompilable, PairTerm, SoapTerm, gap_parameters
from relax.compiled_gap.soap_basis import Describe, SoapBasis, soap_basis

NEAREST_PAIR = 0.05
"""Å; pair energies are held below it"""
PAIR_SPACING = 0.0025
"""Å between knots of pair energies"""


class CompiledGap(Calculator):
    """A GAP of pair terms and `soap_turbo` environments.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element
        Of its XML.
    folder : pathlib.Path
        Where its sparseX files lie.
    describe : callable
        quippy's descriptor by its text.

    Attributes
    ----------
    symbols : list of str
        Of the elements that it knows.

    Raises
    ------
    NotCompilable
        If it has terms that machine code is not there for.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, root: ElementTree.Element, folder: Path, describe: Describe) -> None:
        super().__init__()
        gap = gap_parameters(root, folder)
        self._numbers = sorted({number for soap in gap.soaps for number in soap.species})
        self.symbols = [chemical_symbols[number] for number in self._numbers]
        self._atomic_energies = np.array([gap.atomic_energies.get(number, 0.0) for number in self._numbers])
        self._curves = _pair_curves(gap, self._numbers)
        by_centre = {soap.centre: soap for soap in gap.soaps}
        if sorted(by_centre) != self._numbers or any(list(s.species) != self._numbers for s in gap.soaps):
            raise NotCompilable("its SOAP terms are not one for each element, with the elements in their order")
        soaps = [by_centre[number] for number in self._numbers]
        first, spacing, values, _ = self._curves
        self._r_cut = max([first + spacing * (values.shape[2] - 1), *(soap.r_cut for soap in soaps)])
        self._bases, self._forms, self._zetas = List(), List(), np.array([soap.zeta for soap in soaps])
        for soap in soaps:
            self._bases.append(_basis_arrays(soap, soap_basis(soap, describe)))
            self._forms.append(_form(soap))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy, local energies, forces, and, where it is asked for, stress of a cell with three axes."""
        super().calculate(atoms, properties, system_changes)
        assert isinstance(self.atoms, Atoms)  # set by the base class just above
        species = np.searchsorted(self._numbers, self.atoms.numbers)
        species[species == len(self._numbers)] = 0
        unknown = np.asarray(self._numbers)[species] != self.atoms.numbers
        if unknown.any():
            raise ValueError(f"the potential knows no {self.atoms.symbols[int(np.flatnonzero(unknown)[0])]}")
        if not np.isfinite(self.atoms.positions).all():
            raise ValueError("an atom stands nowhere: its position is not a number")
        positions = wrap_positions(self.atoms.positions, self.atoms.cell, self.atoms.pbc, eps=0.0)
        energies, forces, virial = machine_code.evaluate(
            positions,
            _image_shifts(self.atoms, self._r_cut),
            species,
            self._r_cut,
            self._curves,
            self._bases,
            self._forms,
            self._zetas,
        )
        energies += self._atomic_energies[species]
        self.results = {"energy": float(energies.sum()), "energies": energies, "forces": forces}
        self.results["free_energy"] = self.results["energy"]
        if "stress" in properties and self.atoms.cell.rank == 3:
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / self.atoms.get_volume())


def _image_shifts(atoms: Atoms, reach: float) -> np.ndarray:
    """Translations (n, 3) in Å to all images of the cell that may hold neighbours of atoms inside of it."""
    cell = atoms.cell.complete().array
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # between opposite faces
    counts = np.where(atoms.pbc, np.ceil(reach / heights), 0).astype(int)
    return (np.indices(tuple(2 * counts + 1)).reshape(3, -1).T - counts) @ cell


def _pair_curves(gap: GapParameters, numbers: Sequence[int]) -> tuple[float, float, np.ndarray, np.ndarray]:
    """First knot, spacing, values and slopes of each pair's energy, core included."""
    furthest = max([term.r_cut for term in gap.pairs] + [core.r_cut for core in gap.cores], default=0.0)
    n_knots = int(np.ceil((furthest - NEAREST_PAIR) / PAIR_SPACING)) + 1
    r = np.linspace(NEAREST_PAIR, furthest, n_knots)
    values, slopes = np.zeros((2, len(numbers), len(numbers), n_knots))
    named = {number for pair in gap.pairs for number in pair.numbers} | {n for core in gap.cores for n in core.numbers}
    if not named <= set(numbers):
        raise NotCompilable("it has pairs of elements without SOAP terms")
    for pair in gap.pairs:
        energy, slope = _gaussian_process(pair, r)
        for a, b in {pair.numbers, pair.numbers[::-1]}:
            values[numbers.index(a), numbers.index(b)] += energy
            slopes[numbers.index(a), numbers.index(b)] += slope
    for core in gap.cores:
        spline = CubicSpline(core.distances, core.energies, bc_type=((1, core.slopes[0]), (1, core.slopes[1])))
        inside = r < core.r_cut
        for a, b in {core.numbers, core.numbers[::-1]}:
            values[numbers.index(a), numbers.index(b)] += np.where(inside, spline(r), 0.0)
            slopes[numbers.index(a), numbers.index(b)] += np.where(inside, spline(r, 1), 0.0)
    return float(r[0]), float(r[1] - r[0]), values, slopes


def _gaussian_process(pair: PairTerm, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy and slope at each distance (n,)."""
    apart = r[:, None] - pair.points
    terms = 2.0 * pair.delta**2 * pair.weights * np.exp(-0.5 * (apart / pair.theta) ** 2)
    smooth, steep = terms.sum(axis=1), (-terms * apart / pair.theta**2).sum(axis=1)
    phase = np.clip((r - pair.r_cut + pair.transition_width) / pair.transition_width, 0.0, 1.0) * np.pi
    cut, cut_slope = 0.5 * (1.0 + np.cos(phase)), -0.5 * np.pi / pair.transition_width * np.sin(phase)
    return smooth * cut, steep * cut + smooth * cut_slope


def _basis_arrays(soap: SoapTerm, basis: SoapBasis) -> tuple:  # type: ignore[type-arg]
    return (
        basis.bounds,
        basis.starts,
        basis.coefficients,
        soap.species.index(soap.centre),
        basis.central,
        basis.rows,
        basis.columns,
        basis.degrees,
        basis.factors,
    )


def _form(soap: SoapTerm) -> tuple[np.ndarray, np.ndarray]:
    """The quadratic form of a kernel of power two, or sparse points and weights."""
    weights = soap.delta**2 * soap.weights
    if soap.zeta == 2:
        return np.ascontiguousarray((soap.points * weights[:, None]).T @ soap.points), np.zeros(0)
    return np.ascontiguousarray(soap.points), weights
