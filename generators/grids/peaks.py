"""Local maxima of grids with sub-voxel positions, all grids of a batch at once."""

from dataclasses import dataclass

import torch

from generators.grids.compiled_peaks import local_maxima
from generators.grids.spec import GridSpec

TIE_BREAK = 1e-8
"""Relative fall of values with the voxel's index, so that of equal neighbours (an atom half-way between two voxels,
a clipped plateau) only the first is a maximum."""
LOG_FLOOR = 1e-3
"""Smallest neighbour of a maximum, relative to it, whose logarithm is taken."""


@dataclass(frozen=True)
class Peaks:
    """Maxima of a batch of grids, ordered by grid and then by falling height."""

    grid: torch.Tensor
    """(n_peaks,) index of the grid in the batch"""
    positions: torch.Tensor
    """(n_peaks, 3) in Å"""
    heights: torch.Tensor
    """(n_peaks,) interpolated values"""

    def ranks(self) -> torch.Tensor:
        """(n_peaks,) place of each peak among those of its grid, 0 for the highest."""
        order = torch.arange(len(self.grid), device=self.grid.device)
        return order - torch.searchsorted(self.grid, self.grid)

    def select(self, keep: torch.Tensor) -> "Peaks":
        """Peaks where a mask (n_peaks,) is true."""
        return Peaks(self.grid[keep], self.positions[keep], self.heights[keep])


def _local_maxima(grids: torch.Tensor, floor: torch.Tensor, periodic: tuple[bool, bool, bool]) -> torch.Tensor:
    """Voxels above a floor (batch,) that no other of the 3×3×3 around them exceeds, grids (batch, nx, ny, nz)."""
    highest = grids
    for axis, wraps in enumerate(periodic, start=1):
        before, after = highest.roll(1, dims=axis), highest.roll(-1, dims=axis)
        if not wraps:
            before.narrow(axis, 0, 1).fill_(-torch.inf)
            after.narrow(axis, -1, 1).fill_(-torch.inf)
        highest = torch.maximum(highest, torch.maximum(before, after))
    return (grids >= highest) & (grids > floor[:, None, None, None])


def find_peaks(grids: torch.Tensor, spec: GridSpec, minimum: torch.Tensor) -> Peaks:
    """Local maxima with positions refined by a parabola through the logarithms, exact for a Gaussian.

    Parameters
    ----------
    grids : torch.Tensor, shape (batch, nx, ny, nz)
    spec : GridSpec
    minimum : torch.Tensor, shape (batch,)
        Smallest interpolated height of each grid's peaks, positive.

    Returns
    -------
    Peaks
    """
    shape = grids.shape[1:]
    values = grids.double()
    n_voxels = shape.numel()
    falling = 1.0 - TIE_BREAK * torch.arange(n_voxels, device=grids.device, dtype=torch.float64) / n_voxels
    ordered = values * falling.reshape(shape)
    # half a voxel off along each axis, a Gaussian of σ = 0.58 voxels still shows a third of its height
    floor = 0.3 * minimum
    if grids.device.type == "cpu":
        candidates = torch.from_numpy(local_maxima(ordered.numpy(), floor.numpy(), spec.periodic))
    else:
        candidates = _local_maxima(ordered, floor, spec.periodic)
    grid, *voxel = torch.nonzero(candidates, as_tuple=True)
    centre = values[grid, voxel[0], voxel[1], voxel[2]]
    height, positions = centre.clone(), []
    for axis in range(3):
        offset, gain = _parabola(values, grid, voxel, axis, spec.periodic[axis])
        height = height * torch.exp(gain)
        positions.append(spec.origin[axis] + (voxel[axis] + 0.5 + offset) * float(spec.spacing[axis]))
    peaks = Peaks(grid, torch.stack(positions, dim=-1), height)
    peaks = peaks.select(height >= minimum[grid])
    by_height = torch.argsort(peaks.heights, descending=True, stable=True)
    order = by_height[torch.argsort(peaks.grid[by_height], stable=True)]
    return peaks.select(order)


def _parabola(
    values: torch.Tensor, grid: torch.Tensor, voxel: list[torch.Tensor], axis: int, wraps: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Offset in voxels, within ±1/2, and logarithm of the gain in height at the top of the parabola along an axis."""
    n = values.shape[axis + 1]
    centre = values[grid, voxel[0], voxel[1], voxel[2]]
    logarithms = []
    for step in (-1, 1):
        neighbour = list(voxel)
        neighbour[axis] = (voxel[axis] + step) % n
        value = values[grid, neighbour[0], neighbour[1], neighbour[2]]
        logarithms.append(torch.log(torch.maximum(value / centre, torch.full_like(centre, LOG_FLOOR))))
    below, above = logarithms
    curvature = -(below + above)
    inside = curvature > 1e-12
    if not wraps:
        inside &= (voxel[axis] > 0) & (voxel[axis] < n - 1)
    safe = torch.where(inside, curvature, torch.ones_like(curvature))
    slope = above - below
    offset = torch.where(inside, 0.5 * slope / safe, torch.zeros_like(slope))
    return offset.clamp(-0.5, 0.5), torch.where(inside, slope.square() / (8.0 * safe), torch.zeros_like(slope))
