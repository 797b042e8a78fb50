"""The rule that says when a grid is fine enough to tell atoms apart."""

import math
import warnings

import numpy as np

from generators.grids.spec import GridError, GridSpec

MAX_VOXEL = 0.6
"""Å; largest voxel edge at which atoms are told apart."""
MIN_SIGMA_PER_VOXEL = 0.7
MAX_SIGMA_PER_VOXEL = 1.3
MIN_SEPARATION_PER_SIGMA = 4.0
SHAPE_STEP = 4
"""Suggested shapes are multiples of this, so that two strided layers divide them."""


class CoarseGridError(GridError):
    """A grid on which neighbouring atoms cannot be told apart."""


class GridWarning(UserWarning):
    """A grid that works at a price."""


def sufficient_shape(spec: GridSpec, sigma: float) -> tuple[int, int, int]:
    """Smallest shape, in steps of four voxels, that resolves Gaussians of width `sigma` in the box of `spec`."""
    edge = min(MAX_VOXEL, sigma / MIN_SIGMA_PER_VOXEL)
    nx, ny, nz = (SHAPE_STEP * math.ceil(length / edge / SHAPE_STEP - 1e-9) for length in spec.lengths)
    return nx, ny, nz


def resolution_violations(spec: GridSpec, d_min: float) -> tuple[str, ...]:
    """Rules of resolution that a grid breaks, in words; empty if atoms `d_min` Å apart are told apart on it."""
    broken = []
    for name, edge in zip("xyz", spec.spacing, strict=True):
        if edge > MAX_VOXEL * (1 + 1e-9):
            broken.append(f"voxel {edge:.3f} Å along {name} is above {MAX_VOXEL} Å")
        if spec.sigma / edge < MIN_SIGMA_PER_VOXEL * (1 - 1e-9):
            broken.append(f"σ/voxel {spec.sigma / edge:.2f} along {name} is below {MIN_SIGMA_PER_VOXEL}")
    if d_min < MIN_SEPARATION_PER_SIGMA * spec.sigma * (1 - 1e-9):
        broken.append(f"the closest pair, {d_min:.3f} Å, is nearer than 4σ = {4 * spec.sigma:.3f} Å")
    return tuple(broken)


def check_resolution(spec: GridSpec, d_min: float, allow_coarse: bool = False) -> None:
    """Refuse a grid on which atoms cannot be told apart.

    Parameters
    ----------
    spec : GridSpec
    d_min : float
        Closest allowed distance between two atoms of one species in Å.
    allow_coarse : bool
        Warn instead of refusing.

    Raises
    ------
    CoarseGridError
        If a voxel is longer than 0.6 Å, σ less than 0.7 voxels, or `d_min` less than 4σ.

    Warns
    -----
    GridWarning
        If σ is above 1.3 voxels along every axis (costly, not wrong), or a refusal is overridden.
    """
    broken = resolution_violations(spec, d_min)
    if broken:
        sigma = min(spec.sigma, d_min / MIN_SEPARATION_PER_SIGMA)
        message = (
            f"`shape` {spec.shape} with `sigma` {spec.sigma:.3f} Å cannot tell atoms apart: {'; '.join(broken)}. "
            f"Voxel {' × '.join(f'{edge:.3f}' for edge in spec.spacing)} Å, closest pair {d_min:.3f} Å. "
            f"`shape` {sufficient_shape(spec, sigma)} with `sigma` {sigma:.3f} Å would do"
        )
        if not allow_coarse:
            raise CoarseGridError(message)
        warnings.warn(message, GridWarning, stacklevel=2)
    enough = sufficient_shape(spec, spec.sigma)
    if np.all(spec.sigma / spec.spacing > MAX_SIGMA_PER_VOXEL) and math.prod(enough) < math.prod(spec.shape):
        warnings.warn(
            f"`shape` {spec.shape} with `sigma` {spec.sigma:.3f} Å has more than {MAX_SIGMA_PER_VOXEL} voxels per σ: "
            f"costly without gain, `shape` {enough} would do",
            GridWarning,
            stacklevel=2,
        )
