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
    home = int(np.flatnonzero(~shifts.any(axis=1))[0])
    return NeighbourPairs(*_within(positions, shifts @ cell, home, cutoff))


@njit(**COMPILED)
def _within(positions, shifts, home, cutoff):  # type: ignore[no-untyped-def]
    """Pairs of atoms (n, 3) and images, shifted (n_shifts, 3), that are near; `home` is the shift by nothing."""
    room = 16 * len(positions)
    first, second, distances = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
    n = 0
    for i in range(len(positions)):
        for shift in range(len(shifts)):
            x = positions[i, 0] - shifts[shift, 0]
            y = positions[i, 1] - shifts[shift, 1]
            z = positions[i, 2] - shifts[shift, 2]
            for j in range(len(positions)):
                square = (x - positions[j, 0]) ** 2 + (y - positions[j, 1]) ** 2 + (z - positions[j, 2]) ** 2
                if square <= cutoff * cutoff and not (i == j and shift == home):
                    if n == room:
                        room *= 2
                        first, second, distances = _longer(first), _longer(second), _longer(distances)
                    first[n], second[n], distances[n] = i, j, math.sqrt(square)
                    n += 1
    return first[:n], second[:n], distances[:n]


@njit(**COMPILED)
def _longer(values):  # type: ignore[no-untyped-def]
    grown = np.empty(2 * len(values), values.dtype)
    grown[: len(values)] = values
    return grown
