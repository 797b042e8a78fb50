"""Atoms on top of each other are moved apart before a potential sees them; it costs no force call."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.data import atomic_numbers
from matscipy.neighbours import neighbour_list

from relax.oxide import of_species


def push_apart(atoms: Atoms, distances: Mapping[str, float], sweeps: int = 60) -> None:
    """Move free atoms out of each other's way, in place and without a force call.

    Each sweep moves the free atoms of every close pair along their line, half each or one alone if the other is frozen.
    Pairs that coincide part along z, the first atom downwards.

    Parameters
    ----------
    atoms : ase.Atoms
    distances : mapping of str to float
        Least distances in Å per pair of symbols; those of a metal that is not named are Ru's, by its covalent radius.
    """
    if not distances:
        return
    free = np.ones(len(atoms), dtype=bool)
    free[frozen_indices(atoms)] = False
    floors = np.zeros((119, 119))
    for pair, distance in of_species(distances, atoms.symbols.species()).items():
        one, two = (atomic_numbers[symbol] for symbol in pair.split("-"))
        floors[one, two] = floors[two, one] = distance
    for _ in range(sweeps):
        first, second, vectors, lengths = neighbour_list("ijDd", atoms, float(floors.max()))
        missing = floors[atoms.numbers[first], atoms.numbers[second]] - lengths
        close = (missing > 1e-6) & free[first]
        if not np.any(close):
            return
        along_z = np.array([0.0, 0.0, 1.0]) * np.where(first < second, 1.0, -1.0)[:, None]
        apart = lengths[:, None] > 1e-6
        directions = np.where(apart, vectors / np.maximum(lengths, 1e-6)[:, None], along_z)
        share = np.where(free[second], 0.5, 1.0)
        steps = -directions * (share * np.minimum(missing, 0.3) * 1.02)[:, None]
        np.add.at(atoms.positions, first[close], steps[close])


def frozen_indices(atoms: Atoms) -> np.ndarray:
    """Indices (n_frozen,) of atoms held by `FixAtoms`, sorted."""
    held = [c.index for c in atoms.constraints if isinstance(c, FixAtoms)]
    return np.unique(np.concatenate([np.asarray(i, dtype=int) for i in held])) if held else np.zeros(0, dtype=int)
