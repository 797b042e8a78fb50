"""The least squares of `least_squares` on the CPU: each grid by itself, each Gaussian only where it reaches.

Model, gradient and normal matrix visit an atom's neighbourhood alone; the matrix is sparse, in blocks of four, and
solved by conjugate gradients. Time grows with the number of atoms, not with its cube.
"""

import math

import numpy as np
from numba import njit

from generators.grids.compiled import COMPILED
from generators.grids.compiled_model import leave_residual, normal_blocks, project
from generators.grids.spec import GridSpec

SOLVED = 1e-9
"""Residual of the linear equations relative to the gradient; the next step corrects what is left."""
LARGEST_STEPS = 400


def fit_each(
    data: np.ndarray,
    clipped: np.ndarray | None,
    positions: np.ndarray,
    amplitudes: np.ndarray,
    counts: np.ndarray,
    spec: GridSpec,
    reach: float,
    stop: tuple[int, float, float, float, float, float, float],
) -> None:
    """Fit positions and amplitudes in place.

    Parameters
    ----------
    data : array of float64, shape (batch, nx, ny * nz)
    clipped : array of bool, same shape, optional
        Voxels whose value is a lower bound.
    positions : array of float64, shape (batch, n_max, 3)
        Å
    amplitudes : array of float64, shape (batch, n_max)
    counts : array of int64, shape (batch,)
        Present atoms, which come first.
    spec : GridSpec
    reach : float
        Distance in σ along an axis beyond which a Gaussian counts as zero.
    stop : tuple
        Iterations, tolerance in Å, first and largest damping, smallest stiffness, largest amplitude, smallest gain.
    """
    flat, mask = _flat(data, clipped)
    _fit_all(flat, mask, positions, amplitudes, counts, _box(spec, reach), stop)


def explain_each(
    data: np.ndarray,
    clipped: np.ndarray | None,
    positions: np.ndarray,
    amplitudes: np.ndarray,
    present: np.ndarray,
    spec: GridSpec,
    reach: float,
    weigh: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (batch, nx, ny * nz) and, if asked to `weigh`, explained shares (batch, n_max), else ones.

    As `least_squares.residuals_and_weights`.
    """
    flat, mask = _flat(data, clipped)
    residuals = np.empty_like(flat)
    explained = np.ones(amplitudes.shape)
    _explain_all(flat, mask, residuals, explained, positions, amplitudes, present, _box(spec, reach), weigh)
    return residuals.reshape(data.shape), explained


def _flat(data: np.ndarray, clipped: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Grids (batch, n_voxels) and what of them was clipped; without any, a mask of no rows."""
    flat = data.reshape(len(data), -1)
    return flat, np.zeros((0, flat.shape[1]), dtype=bool) if clipped is None else clipped.reshape(flat.shape)


def _box(spec: GridSpec, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, float]:
    return (
        np.asarray(spec.shape, dtype=np.int64),
        np.asarray(spec.origin, dtype=np.float64),
        np.asarray(spec.lengths, dtype=np.float64),
        np.asarray(spec.periodic),
        float(spec.sigma),
        float(reach),
    )


@njit(**COMPILED)
def _clear(table):  # type: ignore[no-untyped-def]
    for atom in range(len(table)):
        for a in range(4):
            table[atom, a] = 0.0


@njit(**COMPILED)
def _times(product, first, second, blocks, vector):  # type: ignore[no-untyped-def]
    _clear(product)
    for p in range(len(first)):
        i, j = first[p], second[p]
        for a in range(4):
            for b in range(4):
                product[i, a] += blocks[p, a, b] * vector[j, b]
                if i != j:
                    product[j, b] += blocks[p, a, b] * vector[i, a]


@njit(**COMPILED)
def _dot(one, other):  # type: ignore[no-untyped-def]
    total = 0.0
    for atom in range(len(one)):
        for a in range(4):
            total += one[atom, a] * other[atom, a]
    return total


@njit(**COMPILED)
def _factor(factors, first, second, blocks, damping, full):  # type: ignore[no-untyped-def]
    """Damp the diagonal blocks and write their Cholesky factors, with the diagonal inverted."""
    for p in range(len(first)):
        if first[p] != second[p]:
            continue
        lower = factors[first[p]]
        for a in range(4):
            blocks[p, a, a] += damping * max(blocks[p, a, a], full[0, a]) + full[1, a]
        for a in range(4):
            for b in range(a + 1):
                value = blocks[p, a, b]
                for c in range(b):
                    value -= lower[a, c] * lower[b, c]
                lower[a, b] = value * lower[b, b] if a != b else 1.0 / math.sqrt(max(value, 1e-300))


@njit(**COMPILED)
def _precondition(scaled, factors, left):  # type: ignore[no-untyped-def]
    """Solve with the factored diagonal blocks."""
    for atom in range(len(left)):
        lower = factors[atom]
        for a in range(4):
            value = left[atom, a]
            for b in range(a):
                value -= lower[a, b] * scaled[atom, b]
            scaled[atom, a] = value * lower[a, a]
        for a in range(3, -1, -1):
            value = scaled[atom, a]
            for b in range(a + 1, 4):
                value -= lower[b, a] * scaled[atom, b]
            scaled[atom, a] = value * lower[a, a]


@njit(**COMPILED)
def _solve(solution, first, second, blocks, damping, full, left):  # type: ignore[no-untyped-def]
    """Conjugate gradients preconditioned by the damped diagonal blocks; zeros if the matrix turns out not positive.

    `left`, the right-hand side, is used up.
    """
    n_atoms = len(left)
    factors, scaled, turned = np.empty((n_atoms, 4, 4)), np.empty((n_atoms, 4)), np.empty((n_atoms, 4))
    _factor(factors, first, second, blocks, damping, full)
    _precondition(scaled, factors, left)
    direction = scaled.copy()
    _clear(solution)
    product = _dot(left, scaled)
    goal = SOLVED * SOLVED * product
    for _ in range(LARGEST_STEPS):
        if product <= goal:
            break
        _times(turned, first, second, blocks, direction)
        curvature = _dot(direction, turned)
        if not curvature > 0.0:
            _clear(solution)
            break
        length = product / curvature
        for atom in range(n_atoms):
            for a in range(4):
                solution[atom, a] += length * direction[atom, a]
                left[atom, a] -= length * turned[atom, a]
        _precondition(scaled, factors, left)
        following = _dot(left, scaled)
        for atom in range(n_atoms):
            for a in range(4):
                direction[atom, a] = scaled[atom, a] + following / product * direction[atom, a]
        product = following


@njit(**COMPILED)
def _move(moved, changed, positions, amplitudes, step, sigma, largest_amplitude):  # type: ignore[no-untyped-def]
    """Write stepped positions and amplitudes, the steps no longer than σ; returns the largest change."""
    largest = 0.0
    for atom in range(len(positions)):
        changed[atom] = min(max(amplitudes[atom] + step[atom, 0], 0.0), largest_amplitude)
        largest = max(largest, abs(changed[atom] - amplitudes[atom]))
        for axis in range(3):
            length = min(max(step[atom, axis + 1], -sigma), sigma)
            moved[atom, axis] = positions[atom, axis] + length
            largest = max(largest, abs(length))
    return largest


@njit(**COMPILED)
def _copy(positions, amplitudes, moved, changed):  # type: ignore[no-untyped-def]
    """Overwrite as many atoms as both have."""
    for atom in range(min(len(positions), len(moved))):
        amplitudes[atom] = changed[atom]
        for axis in range(3):
            positions[atom, axis] = moved[atom, axis]


@njit(**COMPILED)
def _fit_one(data, clipped, positions, amplitudes, box, stop):  # type: ignore[no-untyped-def]
    """Levenberg–Marquardt on one grid, in place."""
    shape, _, lengths, _, sigma, _ = box
    iterations, tolerance, damping, largest_damping, stiffness, largest_amplitude, smallest_gain = stop
    full = np.empty((2, 4))
    own = math.pi**1.5 * sigma**3 * len(data) / (lengths[0] * lengths[1] * lengths[2])
    for a in range(4):
        full[0, a], full[1, a] = stiffness * own, 1e-12 * own
        if a == 0:
            own /= 2.0 * sigma * sigma
    moved, changed = np.empty_like(positions), np.empty_like(amplitudes)
    residual, attempt, step = np.empty_like(data), np.empty_like(data), np.empty((len(positions), 4))
    error, x, y, z = leave_residual(data, clipped, residual, positions, amplitudes, box)
    rounding = 0.0
    for k in range(len(data)):
        rounding += 1e-15 * data[k] * data[k]
    for _ in range(int(iterations)):
        gradient = project(residual, shape[1], shape[2], shape[0], x, y, z, amplitudes)
        first, second, blocks = normal_blocks(positions, amplitudes, box, x, y, z)
        while True:
            _solve(step, first, second, blocks.copy(), damping, full, gradient.copy())
            largest = _move(moved, changed, positions, amplitudes, step, sigma, largest_amplitude)
            found, x, y, z = leave_residual(data, clipped, attempt, moved, changed, box)
            if found <= error + rounding:
                break
            damping *= 10.0
            if damping > largest_damping:
                return
        gain = error - found
        _copy(positions, amplitudes, moved, changed)
        residual, attempt = attempt, residual
        error = found
        damping *= 0.1
        if largest < tolerance or gain < smallest_gain * error / len(data):
            return


@njit(**COMPILED)
def _fit_all(data, clipped, positions, amplitudes, counts, box, stop):  # type: ignore[no-untyped-def]
    for row in range(len(data)):
        n = counts[row]
        if n == 0:
            continue
        mask = clipped[row] if len(clipped) else np.zeros(0, dtype=np.bool_)
        place, height = np.empty((n, 3)), np.empty(n)
        _copy(place, height, positions[row], amplitudes[row])
        _fit_one(data[row], mask, place, height, box, stop)
        _copy(positions[row], amplitudes[row], place, height)


@njit(**COMPILED)
def _explain_all(data, clipped, residuals, explained, positions, amplitudes, present, box, weigh):  # type: ignore[no-untyped-def]
    squares = np.empty(data.shape[1])
    atoms = np.empty(present.shape[1], dtype=np.int64)
    shape = box[0]
    for row in range(len(data)):
        n = 0
        for k in range(len(present[row])):
            if present[row, k]:
                atoms[n] = k
                n += 1
        place, height, ones = np.empty((n, 3)), np.empty(n), np.ones(n)
        for k in range(n):
            height[k] = amplitudes[row, atoms[k]]
            for axis in range(3):
                place[k, axis] = positions[row, atoms[k], axis]
        mask = clipped[row] if len(clipped) else np.zeros(0, dtype=np.bool_)
        left = residuals[row]
        _, x, y, z = leave_residual(data[row], mask, left, place, height, box)
        if not weigh:
            continue
        for k in range(len(squares)):
            squares[k] = left[k] * left[k]
        remaining = project(squares, shape[1], shape[2], shape[0], x, y, z, ones)
        for k in range(len(squares)):
            squares[k] = data[row, k] * data[row, k]
        total = project(squares, shape[1], shape[2], shape[0], x, y, z, ones)
        for k in range(n):
            explained[row, atoms[k]] = 1.0 - remaining[k, 0] / max(total[k, 0], 1e-300)
