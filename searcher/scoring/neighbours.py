"""Pairs of near atoms under periodicity, every image counted."""

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numba import njit

from generators.grids.compiled import COMPILED


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
    first, image, distances = _within(positions, images[near], near - home, cutoff)
    return NeighbourPairs(first, image % len(atoms), distances)


@njit(**COMPILED)
def _within(positions, images, numbers, cutoff):  # type: ignore[no-untyped-def]
    """Pairs of atoms (n, 3) and images (m, 3) that are near, with their distances.

    The number of an image is its atom's, plus a multiple of n for every one but the atom itself.
    """
    room = 16 * len(positions)
    first, second, distances = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    squares = np.empty(len(images))
    n = 0
    for i in range(len(positions)):
        x, y, z = positions[i]
        for j in range(len(images)):
            squares[j] = (x - images[j, 0]) ** 2 + (y - images[j, 1]) ** 2 + (z - images[j, 2]) ** 2
        for j in range(len(images)):
            if squares[j] <= cutoff * cutoff and numbers[j] != i:
                if n == room:
                    room *= 2
                    first, second, distances = _longer(first), _longer(second), _longer(distances)
                first[n], second[n], distances[n] = i, numbers[j], math.sqrt(squares[j])
                n += 1
    return first[:n], second[:n], distances[:n]


@njit(**COMPILED)
def _longer(values):  # type: ignore[no-untyped-def]
    grown = np.empty(2 * len(values), values.dtype)
    grown[: len(values)] = values
    return grown
