"""Energy, forces and stress of a structure in machine code."""

import math

import numpy as np
from numba import njit

from relax.compiled_gap.compiling import COMPILED
from relax.compiled_gap.environment import soap_term


@njit(**COMPILED)
def evaluate(positions, shifts, species, r_cut, curves, bases, forms, zetas):  # type: ignore[no-untyped-def]
    """Energies (n,), forces (n, 3) and Σ r⃗ ⊗ ∂E/∂r⃗ (3, 3) of a structure, in eV and Å.

    Parameters
    ----------
    positions, shifts : arrays
        As for `neighbours`.
    species : array, shape (n,)
    r_cut : float
        Å, of what reaches furthest.
    curves, bases, forms, zetas
        As for `pair_terms` and `soap_term`, the last three a list by species.
    """
    n = len(positions)
    energies, forces, virial = np.zeros(n), np.zeros((n, 3)), np.zeros((3, 3))
    room = 128
    vectors, distances, indices = np.empty((room, 3)), np.empty(room), np.empty(room, np.int64)
    for i in range(n):
        found = neighbours(positions, shifts, i, r_cut, vectors, distances, indices)
        if found > room:
            room = 2 * found
            vectors, distances, indices = np.empty((room, 3)), np.empty(room), np.empty(room, np.int64)
            neighbours(positions, shifts, i, r_cut, vectors, distances, indices)
        near = vectors[:found], distances[:found], indices[:found]
        pair_terms(species, *near, i, curves, energies, forces, virial)
        s = species[i]
        soap_term(species, *near, i, bases[s], forms[s], zetas[s], energies, forces, virial)
    return energies, forces, virial


@njit(**COMPILED)
def neighbours(positions, shifts, i, r_cut, vectors, distances, indices):  # type: ignore[no-untyped-def]
    """Neighbours of atom `i` among all images, into the three last arrays.

    Parameters
    ----------
    positions : array, shape (n, 3)
        Å, inside the cell along periodic axes.
    shifts : array, shape (n_shifts, 3)
        Å to the images that can be near.

    Returns
    -------
    int
        How many; more than there is room for means that the arrays are too short.
    """
    found = 0
    squared = r_cut * r_cut
    for k in range(len(shifts)):
        x = positions[i, 0] - shifts[k, 0]
        y = positions[i, 1] - shifts[k, 1]
        z = positions[i, 2] - shifts[k, 2]
        itself = shifts[k, 0] == 0.0 and shifts[k, 1] == 0.0 and shifts[k, 2] == 0.0
        for j in range(len(positions)):
            dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
            square = dx * dx + dy * dy + dz * dz
            if square < squared and not (itself and i == j):
                if found < len(indices):
                    vectors[found, 0], vectors[found, 1], vectors[found, 2] = dx, dy, dz
                    distances[found] = math.sqrt(square)
                    indices[found] = j
                found += 1
    return found


@njit(**COMPILED)
def cubic(first, spacing, values, slopes, r):  # type: ignore[no-untyped-def]
    """A cubic Hermite spline on equally spaced knots and its derivative; held constant outside of them."""
    place = (r - first) / spacing
    if place <= 0.0:
        return values[0], 0.0
    k = int(place)
    if k >= len(values) - 1:
        return values[-1], 0.0
    t = place - k
    a, b, c, d = values[k], slopes[k] * spacing, values[k + 1], slopes[k + 1] * spacing
    e, f = 3.0 * (c - a) - 2.0 * b - d, 2.0 * (a - c) + b + d
    return a + t * (b + t * (e + t * f)), (b + t * (2.0 * e + 3.0 * t * f)) / spacing


@njit(**COMPILED)
def pair_terms(species, vectors, distances, indices, i, curves, energies, forces, virial):  # type: ignore[no-untyped-def]
    """Add half of every pair's energy and slope, seen from atom `i`.

    `curves` holds first knot, spacing, values and slopes (n_species, n_species, n_knots) in eV and Å.
    """
    first, spacing, values, slopes = curves
    for k in range(len(distances)):
        r, j = distances[k], indices[k]
        energy, slope = cubic(first, spacing, values[species[i], species[j]], slopes[species[i], species[j]], r)
        energies[i] += 0.5 * energy
        if slope != 0.0:
            for x in range(3):
                pull = 0.5 * slope * vectors[k, x] / r
                forces[i, x] += pull
                forces[j, x] -= pull
                for y in range(3):
                    virial[x, y] += pull * vectors[k, y]
