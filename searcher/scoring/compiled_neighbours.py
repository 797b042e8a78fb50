"""Pairs of near atoms in machine code."""

import math

import numpy as np
from numba import njit

from generators.grids.compiled import COMPILED


@njit(**COMPILED)
def within(positions, images, numbers, cutoff):  # type: ignore[no-untyped-def]
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
