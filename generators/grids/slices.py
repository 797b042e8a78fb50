"""Planes through densities: two-dimensional grids for two-dimensional networks."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from generators.grids.density import densities
from generators.grids.spec import GridError, GridSpec

EMPTY_BELOW = 0.1
"""Largest value of a plane in units of a peak below which it shows no atom: one 2.15 σ away still reaches it."""


def plane_spec(spec: GridSpec, axis: int, height: float) -> GridSpec:
    """Grid of one voxel along `axis`, on which `densities` gives the values on a plane.

    Parameters
    ----------
    spec : GridSpec
    axis : int
        0 for yz slices, 1 for xz slices, 2 for xy slices.
    height : float
        Coordinate of the plane along `axis` in Å.

    Raises
    ------
    GridError
        If the axis is none of the three or the plane lies outside a box that is not periodic along it.
    """
    if axis not in (0, 1, 2):
        raise GridError(f"`axis` is {axis} but must be 0, 1 or 2")
    low, length = spec.origin[axis], spec.lengths[axis]
    if not spec.periodic[axis] and not low <= height <= low + length:
        raise GridError(f"`height` is {height} Å but must lie in the box, {low:.3f} to {low + length:.3f} Å")
    shape, origin = list(spec.shape), list(spec.origin)
    shape[axis], origin[axis] = 1, height - 0.5 * length
    return replace(spec, shape=(shape[0], shape[1], shape[2]), origin=(origin[0], origin[1], origin[2]))


def slices(
    positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec, axis: int, heights: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Densities of a batch of structures on planes, those without an atom dropped.

    Parameters
    ----------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å
    channels : torch.Tensor of int, shape (batch, n_atoms_max)
        -1 where there is no atom.
    spec : GridSpec
    axis : int
        Normal of the planes: 0 for yz slices, 1 for xz slices.
    heights : sequence of float
        Coordinates of the planes along `axis` in Å.

    Returns
    -------
    grids : torch.Tensor, shape (n_kept, n_species, n_1, n_2)
    origin : torch.Tensor of int64, shape (n_kept, 2)
        Structure and plane that each slice is of.

    Raises
    ------
    GridError
        If there is no plane, or one lies outside the box.
    """
    if len(heights) == 0:
        raise GridError("`heights` is empty but must name at least one plane")
    planes = [densities(positions, channels, plane_spec(spec, axis, height)).squeeze(2 + axis) for height in heights]
    grids = torch.stack(planes, dim=1)  # (batch, n_planes, n_species, n_1, n_2)
    origin = torch.nonzero(grids.flatten(2).amax(dim=2) >= EMPTY_BELOW)
    return grids[origin[:, 0], origin[:, 1]], origin
