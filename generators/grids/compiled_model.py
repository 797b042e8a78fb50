"""Sums of Gaussians against a grid on the CPU, each Gaussian only where it reaches: residual, gradient, overlaps."""

import math

import numpy as np
from numba import njit

from generators.grids.compiled import COMPILED, gaussian_profile

FAINTEST_ROW = 1e-17
PAIR_REACH = 7.0
"""Distance in σ beyond which two atoms overlap by less than 5e-6 and do not enter the matrix, only the residual."""


@njit(**COMPILED)
def _axis(positions, n, axis, origin, length, wraps, sigma, reach):  # type: ignore[no-untyped-def]
    """Profiles and slopes (n_atoms, width) along an axis and the first voxel of each; out of the box they are zero."""
    n_atoms = len(positions)
    edge = length / n
    support = max(1, math.ceil(2.0 * reach * sigma / edge))
    width = min(support, n)
    values, slopes = np.zeros((n_atoms, width)), np.zeros((n_atoms, width))
    firsts = np.zeros(n_atoms, dtype=np.int64)
    buffer = np.empty(support)
    for atom in range(n_atoms):
        coordinate = positions[atom, axis] - origin
        lowest = gaussian_profile(buffer, coordinate, edge, sigma)
        if support < n:
            firsts[atom] = lowest % n if wraps else min(max(lowest, 0), n - width)
        for k in range(support):
            place = lowest + k
            slope = buffer[k] * ((place + 0.5) * edge - coordinate) / (sigma * sigma)
            place -= firsts[atom]
            if wraps:
                place %= n
            if 0 <= place < width:
                values[atom, place] += buffer[k]
                slopes[atom, place] += slope
    return values, slopes, firsts


@njit(**COMPILED)
def _subtract(flat, ny, nz, n, x, y, z, amplitudes):  # type: ignore[no-untyped-def]
    """Take the atoms' Gaussians off a grid."""
    (vx, _, fx), (vy, _, fy), (vz, _, fz) = x, y, z
    width = vz.shape[1]
    for atom in range(len(amplitudes)):
        before_end = min(width, nz - fz[atom])
        for i in range(vx.shape[1]):
            at_x = (fx[atom] + i) % n
            for j in range(vy.shape[1]):
                weight = amplitudes[atom] * vx[atom, i] * vy[atom, j]
                if weight < FAINTEST_ROW:
                    continue
                row = (at_x * ny + (fy[atom] + j) % ny) * nz
                start = row + fz[atom]
                for k in range(before_end):
                    flat[start + k] -= weight * vz[atom, k]
                for k in range(before_end, width):
                    flat[row + k - before_end] -= weight * vz[atom, k]


@njit(**COMPILED)
def project(flat, ny, nz, n, x, y, z, amplitudes):  # type: ignore[no-untyped-def]
    """Sum over voxels of a grid times each atom's derivatives by amplitude, x, y, z: (n_atoms, 4)."""
    (vx, sx, fx), (vy, sy, fy), (vz, sz, fz) = x, y, z
    width = vz.shape[1]
    result = np.zeros((len(amplitudes), 4))
    for atom in range(len(amplitudes)):
        before_end = min(width, nz - fz[atom])
        by_value, by_x, by_y, by_z = 0.0, 0.0, 0.0, 0.0
        for i in range(vx.shape[1]):
            at_x = (fx[atom] + i) % n
            for j in range(vy.shape[1]):
                weight = vx[atom, i] * vy[atom, j]
                if weight < FAINTEST_ROW:
                    continue
                row = (at_x * ny + (fy[atom] + j) % ny) * nz
                start = row + fz[atom]
                value, slope = 0.0, 0.0
                for k in range(before_end):
                    value += flat[start + k] * vz[atom, k]
                    slope += flat[start + k] * sz[atom, k]
                for k in range(before_end, width):
                    value += flat[row + k - before_end] * vz[atom, k]
                    slope += flat[row + k - before_end] * sz[atom, k]
                by_value += weight * value
                by_x += sx[atom, i] * vy[atom, j] * value
                by_y += vx[atom, i] * sy[atom, j] * value
                by_z += weight * slope
        result[atom, 0] = by_value
        result[atom, 1] = amplitudes[atom] * by_x
        result[atom, 2] = amplitudes[atom] * by_y
        result[atom, 3] = amplitudes[atom] * by_z
    return result


@njit(**COMPILED)
def leave_residual(data, clipped, residual, positions, amplitudes, box):  # type: ignore[no-untyped-def]
    """Write data less model; returns its sum of squares and the profiles."""
    shape, origin, lengths, periodic, sigma, reach = box
    x = _axis(positions, shape[0], 0, origin[0], lengths[0], periodic[0], sigma, reach)
    y = _axis(positions, shape[1], 1, origin[1], lengths[1], periodic[1], sigma, reach)
    z = _axis(positions, shape[2], 2, origin[2], lengths[2], periodic[2], sigma, reach)
    for k in range(len(data)):
        residual[k] = data[k]
    _subtract(residual, shape[1], shape[2], shape[0], x, y, z, amplitudes)
    if len(clipped):
        for k in range(len(residual)):
            if clipped[k] and residual[k] < 0.0:
                residual[k] = 0.0
    error = 0.0
    for k in range(len(residual)):
        error += residual[k] * residual[k]
    return error, x, y, z


@njit(**COMPILED)
def _overlaps(table, axis, i, j, values, slopes, firsts, n):  # type: ignore[no-untyped-def]
    """Sums over an axis of value·value, value·slope, slope·value and slope·slope of two atoms."""
    width = values.shape[1]
    shift = (firsts[i] - firsts[j]) % n
    vv, vs, sv, ss = 0.0, 0.0, 0.0, 0.0
    for k in range(width):
        m = k + shift
        if m >= n:
            m -= n
        if m < width:
            vv += values[i, k] * values[j, m]
            vs += values[i, k] * slopes[j, m]
            sv += slopes[i, k] * values[j, m]
            ss += slopes[i, k] * slopes[j, m]
    table[axis, 0], table[axis, 1], table[axis, 2], table[axis, 3] = vv, vs, sv, ss


@njit(**COMPILED)
def normal_blocks(positions, amplitudes, box, x, y, z):  # type: ignore[no-untyped-def]
    """Jᵀ J as its non-zero 4 × 4 blocks on and above the diagonal: first atom, second atom, block."""
    shape, _, lengths, periodic, sigma, _ = box
    n_atoms, n_pairs = len(positions), 0
    for _ in range(2):  # the first time to count, the second to write
        first, second, n_pairs = np.empty(n_pairs, dtype=np.int64), np.empty(n_pairs, dtype=np.int64), 0
        for i in range(n_atoms):
            for j in range(i, n_atoms):
                square = 0.0
                for axis in range(3):
                    offset = positions[i, axis] - positions[j, axis]
                    if periodic[axis]:
                        offset -= lengths[axis] * np.rint(offset / lengths[axis])
                    square += offset * offset
                if i == j or square < (PAIR_REACH * sigma) ** 2:
                    if n_pairs < len(first):
                        first[n_pairs], second[n_pairs] = i, j
                    n_pairs += 1
    blocks = np.empty((len(first), 4, 4))
    table = np.empty((3, 4))
    for p in range(len(first)):
        i, j = first[p], second[p]
        _overlaps(table, 0, i, j, x[0], x[1], x[2], shape[0])
        _overlaps(table, 1, i, j, y[0], y[1], y[2], shape[1])
        _overlaps(table, 2, i, j, z[0], z[1], z[2], shape[2])
        for a in range(4):
            for b in range(4):
                element = (amplitudes[i] if a else 1.0) * (amplitudes[j] if b else 1.0)
                for axis in range(3):
                    element *= table[axis, 2 * (a == axis + 1) + (b == axis + 1)]
                blocks[p, a, b] = element
    return first, second, blocks
