"""Sums of Gaussians on the CPU: only the voxels that an atom reaches, in machine code."""

import math
from typing import Any

import numpy as np
from numba import njit

from generators.grids.spec import GridSpec

LANES = 8
"""Voxels along z that are worked on together, a vector of the processor."""
REACH = {np.dtype(np.float32): 5.0, np.dtype(np.float64): 8.5}
"""Reach of a Gaussian in σ: beyond it a value is below 4e-6 in single and 3e-16 in double precision."""
COMPILED: dict[str, Any] = {"cache": True, "error_model": "numpy"}
"""Without `fastmath`: last digits must not depend on whether code was just compiled or comes out of a cache."""


def gaussian_sums(positions: np.ndarray, channels: np.ndarray, spec: GridSpec) -> np.ndarray:
    """Grids of a batch of structures, as `density.densities` makes them.

    Parameters
    ----------
    positions : array of float32 or float64, shape (batch, n_atoms, 3)
        Å, finite.
    channels : array of int64, shape (batch, n_atoms)
        -1 where there is no atom.
    spec : GridSpec

    Returns
    -------
    numpy.ndarray, shape (batch, n_species, nx, ny, nz)
        Of the positions' precision; in single precision off by some 1e-6, which the reach leaves out.
    """
    reach = REACH[positions.dtype] * spec.sigma
    support = [max(1, math.ceil(2.0 * reach / edge)) for edge in spec.spacing]
    support[2] = LANES * math.ceil(support[2] / LANES)
    nx, ny, nz = spec.shape
    room = nz if nz >= support[2] else LANES * math.ceil(nz / LANES)  # a short row holds whole vectors
    grids = np.empty((len(positions), len(spec.species), nx, ny, room), dtype=positions.dtype)
    _fill(
        grids,
        nz,
        np.ascontiguousarray(positions),
        np.ascontiguousarray(channels),
        np.asarray(spec.origin, dtype=np.float64),
        np.asarray(spec.spacing, dtype=np.float64),
        np.asarray(spec.periodic),
        np.asarray(support),
        spec.sigma,
        spec.clip,
    )
    return grids if room == nz else np.ascontiguousarray(grids[..., :nz])


@njit(**COMPILED)
def gaussian_profile(values, coordinate, edge, sigma):  # type: ignore[no-untyped-def]
    """Gaussian at the voxels around a coordinate, counted from the grid's corner; returns the first voxel.

    The ratio of neighbouring values changes by a constant factor, so that four exponentials make all of them.
    """
    n_values = len(values)
    first = math.floor(coordinate / edge - 0.5 * n_values + 0.5)
    middle = n_values // 2
    distance = (first + middle + 0.5) * edge - coordinate
    if distance > 0.5 * edge:  # begin at the nearest voxel, from which values only fall: no ratio can overflow
        middle -= 1
        distance -= edge
    variance = sigma * sigma
    factor = math.exp(-edge * edge / variance)
    top = math.exp(-0.5 * distance * distance / variance)
    value, ratio = top, math.exp(-edge * (distance + 0.5 * edge) / variance)
    for i in range(middle, n_values):
        values[i] = value
        value *= ratio
        ratio *= factor
    value, ratio = top, math.exp(edge * (distance - 0.5 * edge) / variance)
    for i in range(middle - 1, -1, -1):
        value *= ratio
        ratio *= factor
        values[i] = value
    return first


@njit(**COMPILED)
def _place(places, first, n, periodic):  # type: ignore[no-untyped-def]
    """Voxel along an axis of `n` of each value of a profile, -1 where it lies outside."""
    for i in range(len(places)):
        place = first + i
        if periodic:
            place %= n
        elif place >= n:
            place = -1
        places[i] = max(place, -1)


@njit(**COMPILED)
def _segment(row, values, start, n, room):  # type: ignore[no-untyped-def]
    """The part of a profile from voxel `start` on that lies in 0 … n − 1, and zeros; the voxel of its first.

    -1 if no part lies there. The row stays within the `room` of a line of the grid.
    """
    low, high = max(0, -start), min(len(values), n - start)
    if low >= high:
        return -1
    for k in range(len(row)):
        row[k] = 0.0
    begin = max(0, min(start, room - len(row)))
    for k in range(low, high):
        row[start + k - begin] = values[k]
    return begin


@njit(**COMPILED)
def _add(flat, first, row, x, y, x_places, y_places, ny, nz, smallest):  # type: ignore[no-untyped-def]
    """Add the product of three profiles to one channel, which begins at `first`.

    A vector of the row stays in registers; unsigned places spare a check for negative ones.
    """
    for block in range(0, len(row), LANES):
        a, b, c, d = row[block], row[block + 1], row[block + 2], row[block + 3]
        e, f, g, h = row[block + 4], row[block + 5], row[block + 6], row[block + 7]
        for i in range(len(x)):
            if x_places[i] < 0:
                continue
            for j in range(len(y)):
                weight = x[i] * y[j]
                if y_places[j] < 0 or weight < smallest:
                    continue
                w = row.dtype.type(weight)
                k = np.uintp(first + (x_places[i] * ny + y_places[j]) * nz + block)
                flat[k] += w * a
                flat[k + np.uintp(1)] += w * b
                flat[k + np.uintp(2)] += w * c
                flat[k + np.uintp(3)] += w * d
                flat[k + np.uintp(4)] += w * e
                flat[k + np.uintp(5)] += w * f
                flat[k + np.uintp(6)] += w * g
                flat[k + np.uintp(7)] += w * h


@njit(**COMPILED)
def _fill(grids, nz, positions, channels, origin, spacing, periodic, support, sigma, clip):  # type: ignore[no-untyped-def]
    """Write all grids, of which the first `nz` voxels along z count."""
    nx, ny, room = grids.shape[2:]
    x, y, z = np.empty(support[0]), np.empty(support[1]), np.empty(support[2])
    x_places, y_places = np.empty(support[0], dtype=np.int64), np.empty(support[1], dtype=np.int64)
    row = np.empty(min(support[2], room), dtype=grids.dtype)
    smallest = math.exp(-0.5 * (0.5 * support[0] * spacing[0] / sigma) ** 2)
    one = grids.dtype.type(1.0)
    for structure in range(len(positions)):
        flat = grids[structure].ravel()
        for k in range(len(flat)):
            flat[k] = 0.0
        for atom in range(positions.shape[1]):
            channel = channels[structure, atom]
            if channel < 0:
                continue
            place = positions[structure, atom]
            _place(x_places, gaussian_profile(x, place[0] - origin[0], spacing[0], sigma), nx, periodic[0])
            _place(y_places, gaussian_profile(y, place[1] - origin[1], spacing[1], sigma), ny, periodic[1])
            start = gaussian_profile(z, place[2] - origin[2], spacing[2], sigma)
            if periodic[2]:
                start %= nz
            while start + support[2] > 0:
                begin = _segment(row, z, start, nz, room)
                if begin >= 0:
                    first = channel * nx * ny * room + begin
                    _add(flat, first, row, x, y, x_places, y_places, ny, room, smallest)
                if not periodic[2]:
                    break
                start -= nz
        if clip:
            for k in range(len(flat)):
                flat[k] = flat[k] if flat[k] < one else one
