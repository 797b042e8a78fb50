"""Is this a structure that a potential may be asked about, and is this an answer that one may believe?

A faulty candidate is a verdict with a reason code, never an exception: a GAP returns finite numbers for garbage, hangs
on collapsed cells and drops atoms whose element it does not know.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from matscipy.neighbours import neighbour_list

from relax.oxide import of_species

NOT_FINITE: Final = "not_finite"
UNKNOWN_SPECIES: Final = "unknown_species"
EMPTY: Final = "empty"
BAD_CELL: Final = "bad_cell"
OUTSIDE_CELL: Final = "outside_cell"
OVERLAP: Final = "overlap"
TOO_DENSE: Final = "too_dense"
ENERGY_NOT_FINITE: Final = "energy_not_finite"
FORCE_TOO_LARGE: Final = "force_too_large"

DENSEST = 0.4
"""Atoms per Å³; four times the density of RuO2, above which a neighbour list itself becomes dangerous."""


@dataclass(frozen=True)
class CheckLimits:
    """Bounds outside of which no force call is made, or none is believed.

    Attributes
    ----------
    overlap : mapping of str to float
        Shortest distance in Å per pair of symbols in alphabetical order, at which the potential is still repulsive.
        Those of a metal that is not named are Ru's, by its covalent radius.
    overlap_otherwise : float
        The same for pairs that are not named.
    outside : float
        How far in cell lengths an atom may lie outside the cell along a direction that is not periodic.
    max_force : float
        Largest believable force in eV/Å.
    shortest_cell, longest_cell : float
        Allowed lengths of the cell's vectors in Å.
    """

    overlap: dict[str, float] = field(default_factory=lambda: {"O-O": 0.8, "O-Ru": 1.0, "Ru-Ru": 1.5})
    overlap_otherwise: float = 0.8
    outside: float = 0.5
    max_force: float = 200.0
    shortest_cell: float = 2.0
    longest_cell: float = 200.0


def check_input(atoms: Atoms, known_species: Collection[str] = (), limits: CheckLimits | None = None) -> str | None:
    """Look for a reason not to hand a structure to a potential.

    Parameters
    ----------
    atoms : ase.Atoms
    known_species : collection of str
        Elements of the potential; empty if it does not say.
    limits : CheckLimits, optional

    Returns
    -------
    str or None
        A reason code of this module, or None.
    """
    limits = limits or CheckLimits()
    if len(atoms) == 0:
        return EMPTY
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return NOT_FINITE
    if known_species and not set(atoms.get_chemical_symbols()) <= set(known_species):
        return UNKNOWN_SPECIES
    return _cell_fault(atoms, limits) or (OVERLAP if overlapping(atoms, limits) else None)


def _cell_fault(atoms: Atoms, limits: CheckLimits) -> str | None:
    lengths = atoms.cell.lengths()
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    flat = volume < 0.1 * float(np.prod(lengths))
    if flat or np.any(lengths < limits.shortest_cell) or np.any(lengths > limits.longest_cell):
        return BAD_CELL
    if len(atoms) / volume > DENSEST:
        return TOO_DENSE
    fractional = atoms.cell.scaled_positions(atoms.positions)
    stray = np.where(
        atoms.pbc, np.abs(fractional) > 1e3, (fractional < -limits.outside) | (fractional > 1 + limits.outside)
    )
    if np.any(stray):
        return OUTSIDE_CELL
    return None


def overlapping(atoms: Atoms, limits: CheckLimits) -> bool:
    """Whether any pair is nearer than its overlap distance."""
    overlap = of_species(limits.overlap, atoms.symbols.species())
    reach = max([*overlap.values(), limits.overlap_otherwise, 1.0])  # shorter ones make too many bins
    first, second, distances = neighbour_list("ijd", atoms, reach)
    if not len(distances):
        return False
    lookup = np.full((119, 119), limits.overlap_otherwise)
    for pair, distance in overlap.items():
        one, two = (atomic_numbers[symbol] for symbol in pair.split("-"))
        lookup[one, two] = lookup[two, one] = distance
    return bool(np.any(distances < lookup[atoms.numbers[first], atoms.numbers[second]]))


def check_output(energy: float, forces: np.ndarray, limits: CheckLimits | None = None) -> str | None:
    """Look for a reason not to believe a potential's answer.

    Parameters
    ----------
    energy : float
        In eV.
    forces : numpy.ndarray, shape (n_atoms, 3)
        In eV/Å.

    Returns
    -------
    str or None
        A reason code of this module, or None.
    """
    limits = limits or CheckLimits()
    if not np.isfinite(energy):
        return ENERGY_NOT_FINITE
    if not np.isfinite(forces).all() or np.max(np.linalg.norm(forces, axis=1), initial=0.0) > limits.max_force:
        return FORCE_TOO_LARGE
    return None
