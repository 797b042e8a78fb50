"""Pairs of near atoms under periodicity, every image counted."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree


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


def cell_heights(cell: np.ndarray) -> np.ndarray:
    """Distances in Å between opposite faces of a cell (3, 3), shape (3,)."""
    return 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def neighbour_pairs(atoms: Atoms, cutoff: float) -> NeighbourPairs:
    """All pairs of atoms nearer than `cutoff` (Å), self-images included.

    A minimum-image distance matrix would see each neighbour once: in a cell of 3.1 Å it misses bonds.
    """
    cell = atoms.cell.array
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T  # (n_atoms, 3)
    fractions[:, atoms.pbc] %= 1.0
    positions = fractions @ cell  # (n_atoms, 3)
    reach = np.where(atoms.pbc, np.ceil(cutoff / cell_heights(cell)), 0).astype(int)
    shifts = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach  # (n_shifts, 3)
    images = positions[None] + (shifts @ cell)[:, None]  # (n_shifts, n_atoms, 3)
    low, high = positions.min(axis=0) - cutoff, positions.max(axis=0) + cutoff
    near = np.flatnonzero(((images > low) & (images < high)).all(axis=2).reshape(-1))
    pairs = cKDTree(positions).sparse_distance_matrix(
        cKDTree(images.reshape(-1, 3)[near]), cutoff, output_type="ndarray"
    )
    image = near[pairs["j"]]
    home = int(np.flatnonzero(~shifts.any(axis=1))[0]) * len(atoms)
    other = image != home + pairs["i"]
    return NeighbourPairs(
        first=pairs["i"][other].astype(int),
        second=image[other] % len(atoms),
        distances=pairs["v"][other],
    )
