"""Grids of full cells whose lengths differ from structure to structure: σ stays in Å, the shape per axis."""

import math

import torch

from generators.grids.density import KERNEL_RANGE, densities
from generators.grids.spec import GridSpec

SAME_LENGTH = 1e-5
"""Å by which cells may differ and count as equal; no atom moves by more on the grid."""


def cell_densities(
    positions: torch.Tensor, channels: torch.Tensor, lengths: torch.Tensor, spec: GridSpec
) -> torch.Tensor:
    r"""Grids of structures in orthorhombic cells of their own, periodic along all axes.

    Parameters
    ----------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å, in each structure's own cell, which begins at the origin.
    channels : torch.Tensor of int, shape (batch, n_atoms_max)
        -1 where there is no atom.
    lengths : torch.Tensor, shape (batch, 3)
        Å
    spec : GridSpec
        Its shape, species and σ; its lengths are replaced by each structure's own.

    Returns
    -------
    torch.Tensor, shape (batch, n_species, nx, ny, nz)
    """
    if bool((lengths - lengths.new_tensor(spec.lengths)).abs().amax() <= SAME_LENGTH):
        return densities(positions, channels, spec)
    batch, n_atoms = channels.shape
    (nx, ny, nz), n_species = spec.shape, len(spec.species)
    x, y, z = (_profiles(positions[..., axis], lengths[:, axis], spec.shape[axis], spec.sigma) for axis in range(3))
    known = torch.arange(n_species, device=channels.device)[:, None]
    belongs = (channels[:, None, :] == known).to(positions.dtype)  # (batch, n_species, n_atoms)
    left = belongs[:, :, None, :] * x.transpose(1, 2)[:, None]  # (batch, n_species, nx, n_atoms)
    right = (y[..., :, None] * z[..., None, :]).reshape(batch, n_atoms, ny * nz)
    grids = torch.bmm(left.reshape(batch, n_species * nx, n_atoms), right).reshape(batch, n_species, nx, ny, nz)
    return grids.clamp(0.0, 1.0) if spec.clip else grids


def _profiles(coordinates: torch.Tensor, lengths: torch.Tensor, n: int, sigma: float) -> torch.Tensor:
    """One-dimensional Gaussians (batch, n_atoms, n) with their images, along one axis."""
    centres = (torch.arange(n, device=coordinates.device, dtype=coordinates.dtype) + 0.5) / n * lengths[:, None]
    offsets = centres[:, None, :] - coordinates[..., None]
    period = lengths[:, None, None]
    offsets = offsets - period * torch.round(offsets / period)
    n_images = math.floor(KERNEL_RANGE * sigma / float(lengths.min()) + 0.5)
    images = torch.arange(-n_images, n_images + 1, device=coordinates.device, dtype=coordinates.dtype)
    scaled = (offsets[..., None] + period[..., None] * images) / sigma
    return torch.exp(-0.5 * scaled.square()).sum(dim=-1)
