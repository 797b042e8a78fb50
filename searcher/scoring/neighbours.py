"""Pairs of near atoms under periodicity, every image counted."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

LARGEST_TABLE = 50_000
"""pairs of which all distances are computed; a tree takes longer to build for so few"""


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
    first, found, distances = _within(positions, images.reshape(-1, 3)[near], cutoff)
    image = near[found]
    home = int(np.flatnonzero(~shifts.any(axis=1))[0]) * len(atoms)
    other = image != home + first
    return NeighbourPairs(first=first[other], second=image[other] % len(atoms), distances=distances[other])


def _within(positions: np.ndarray, images: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of positions (n, 3) and images (m, 3) nearer than the cutoff to each other, and their distances."""
    if len(positions) * len(images) <= LARGEST_TABLE:
        offsets = positions[:, None] - images[None]  # (n, m, 3)
        squares = np.einsum("nmi,nmi->nm", offsets, offsets)
        first, found = np.nonzero(squares <= cutoff * cutoff)
        return first, found, np.sqrt(squares[first, found])
    pairs = cKDTree(positions).sparse_distance_matrix(cKDTree(images), cutoff, output_type="ndarray")
    return pairs["i"].astype(int), pairs["j"].astype(int), pairs["v"]
