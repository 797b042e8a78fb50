"""Pairs of near atoms under periodicity, every image counted."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms


@dataclass(frozen=True)
class NeighbourPairs:
    """Ordered pairs: each pair of atoms stands in it twice, and once more per further image within reach.

    Attributes
    ----------
    first, second : numpy.ndarray, shape (n_pairs,)
        Indices of atoms.
    distances : numpy.ndarray, shape (n_pairs,)
        In Å.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray


def heights(inverse: np.ndarray) -> np.ndarray:
    """Distances in Å between opposite faces of a cell whose inverse this is (3, 3), shape (3,)."""
    return 1.0 / np.sqrt(np.einsum("ij,ij->j", inverse, inverse))


def neighbour_pairs(atoms: Atoms, cutoff: float) -> NeighbourPairs:
    """All pairs of atoms nearer than `cutoff` (Å), self-images included.

    A minimum-image distance matrix would see each neighbour once: in a cell of 3.1 Å it misses bonds.
    """
    from searcher.scoring.compiled_neighbours import within  # loads numba, which reading a configuration need not

    cell = atoms.cell.array
    inverse = np.linalg.inv(cell)
    fractions = atoms.positions @ inverse  # (n_atoms, 3)
    fractions[:, atoms.pbc] %= 1.0
    positions = fractions @ cell  # (n_atoms, 3)
    reach = np.where(atoms.pbc, np.ceil(cutoff / heights(inverse)), 0).astype(int)
    shifts = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach  # (n_shifts, 3)
    images = (positions[None] + (shifts @ cell)[:, None]).reshape(-1, 3)  # (n_shifts * n_atoms, 3)
    low, high = positions.min(axis=0) - cutoff, positions.max(axis=0) + cutoff
    near = np.flatnonzero(((images > low) & (images < high)).all(axis=1))
    home = int(np.flatnonzero(~shifts.any(axis=1))[0]) * len(atoms)
    first, image, distances = within(positions, images[near], near - home, cutoff)
    return NeighbourPairs(first, image % len(atoms), distances)
