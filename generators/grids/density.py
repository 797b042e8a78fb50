"""Atoms as sums of Gaussians on a grid, in batches, on any device."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from generators.grids.compiled import gaussian_sums
from generators.grids.spec import GridError, GridSpec
from generators.template import Template

PADDING = -1
"""Channel of an entry that holds no atom."""
KERNEL_RANGE = 8.5
"""Distance in σ beyond which a Gaussian, below 3e-16, adds nothing in double precision."""

COMPILED_PRECISIONS = (torch.float32, torch.float64)


def _displacements(coordinates: torch.Tensor, spec: GridSpec, axis: int) -> torch.Tensor:
    """Distances (..., n, n_images) in Å from coordinates (...) to the voxels' centres, one column per image."""
    centres = torch.as_tensor(spec.centres(axis), dtype=coordinates.dtype, device=coordinates.device)
    offsets = centres - coordinates[..., None]  # (..., n)
    if not spec.periodic[axis]:
        return offsets[..., None]
    length = spec.lengths[axis]
    offsets = offsets - length * torch.round(offsets / length)
    n_images = math.floor(KERNEL_RANGE * spec.sigma / length + 0.5)
    images = torch.arange(-n_images, n_images + 1, dtype=coordinates.dtype, device=coordinates.device)
    return offsets[..., None] + length * images


def axis_profiles(coordinates: torch.Tensor, spec: GridSpec, axis: int) -> torch.Tensor:
    """One-dimensional Gaussians of height 1, periodic images included.

    Parameters
    ----------
    coordinates : torch.Tensor, shape (...)
        Centres in Å.
    spec : GridSpec
    axis : int

    Returns
    -------
    torch.Tensor, shape (..., spec.shape[axis])
    """
    scaled = _displacements(coordinates, spec, axis) / spec.sigma
    return torch.exp(-0.5 * scaled.square()).sum(dim=-1)


def axis_profiles_and_slopes(coordinates: torch.Tensor, spec: GridSpec, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Profiles as in `axis_profiles` and their derivatives by the coordinate in 1/Å, same shape."""
    scaled = _displacements(coordinates, spec, axis) / spec.sigma
    gaussians = torch.exp(-0.5 * scaled.square())
    return gaussians.sum(dim=-1), (gaussians * scaled).sum(dim=-1) / spec.sigma


def densities(positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Grids of a batch of structures.

    Every atom adds a Gaussian of height 1 and width σ to its species' channel; along a periodic axis all its images
    count. Each Gaussian is a product of three one-dimensional ones, so a grid is one matrix product. On a CPU, where
    nothing is to be differentiated, only the voxels that an atom reaches are visited.

    Parameters
    ----------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å; the result has their dtype and device and can be differentiated by them.
    channels : torch.Tensor of int, shape (batch, n_atoms_max)
        Channel of each atom, -1 where there is none.
    spec : GridSpec

    Returns
    -------
    torch.Tensor, shape (batch, n_species, nx, ny, nz)

    Raises
    ------
    GridError
        If shapes or channels do not fit.
    """
    if positions.ndim != 3 or positions.shape[-1] != 3:
        raise GridError(f"`positions` has shape {tuple(positions.shape)} but must have (batch, n_atoms, 3)")
    if channels.shape != positions.shape[:2]:
        raise GridError(
            f"`channels` has shape {tuple(channels.shape)} but must have {tuple(positions.shape[:2])} like `positions`"
        )
    if positions.device.type == "cpu" and not positions.requires_grad and positions.dtype in COMPILED_PRECISIONS:
        return torch.from_numpy(gaussian_sums(positions.numpy(), channels.numpy(), spec))
    return _products(positions, channels, spec)


def _products(positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """`densities` as one matrix product: on any device, differentiable by the positions."""
    batch, n_atoms = channels.shape
    n_species, (nx, ny, nz) = len(spec.species), spec.shape
    x, y, z = (axis_profiles(positions[..., axis], spec, axis) for axis in range(3))
    known = torch.arange(n_species, device=channels.device)[:, None]
    belongs = (channels[:, None, :] == known).to(positions.dtype)  # (batch, n_species, n_atoms)
    left = belongs[:, :, None, :] * x.transpose(1, 2)[:, None]  # (batch, n_species, nx, n_atoms)
    right = (y[..., :, None] * z[..., None, :]).reshape(batch, n_atoms, ny * nz)
    grids = torch.bmm(left.reshape(batch, n_species * nx, n_atoms), right).reshape(batch, n_species, nx, ny, nz)
    return grids.clamp(0.0, 1.0) if spec.clip else grids


def pack(
    structures: Sequence[tuple[np.ndarray, np.ndarray]],
    spec: GridSpec,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put structures of different size into two tensors.

    Parameters
    ----------
    structures : sequence of (numbers, positions)
        Atomic numbers (n_atoms,) and positions (n_atoms, 3) in Å.
    spec : GridSpec
    dtype : torch.dtype
        Of the positions. Single precision costs about 1e-6 Å.
    device : torch.device or str, optional

    Returns
    -------
    positions : torch.Tensor, shape (batch, n_atoms_max, 3)
        Å; zero where there is no atom.
    channels : torch.Tensor of int64, shape (batch, n_atoms_max)
        -1 where there is no atom.

    Raises
    ------
    GridError
        If there is no structure, one has no atoms, coordinates that are not finite, or a species without a channel.
    """
    if len(structures) == 0:
        raise GridError("`structures` is empty but must hold at least one structure")
    largest = max(len(numbers) for numbers, _ in structures)
    positions = np.zeros((len(structures), largest, 3))
    channels = np.full((len(structures), largest), PADDING, dtype=np.int64)
    lookup = {int(number): channel for channel, number in enumerate(spec.numbers)}
    for index, (numbers, coordinates) in enumerate(structures):
        if len(numbers) == 0:
            raise GridError(f"`structures[{index}]` has no atoms but must have at least one")
        if np.shape(coordinates) != (len(numbers), 3) or not np.all(np.isfinite(coordinates)):
            raise GridError(f"`structures[{index}]` must have finite positions of shape ({len(numbers)}, 3)")
        unknown = sorted({int(number) for number in numbers} - lookup.keys())
        if unknown:
            raise GridError(
                f"`structures[{index}]` has atomic numbers {unknown} but the grid's species are "
                f"{', '.join(spec.species)}"
            )
        positions[index, : len(numbers)] = coordinates
        channels[index, : len(numbers)] = [lookup[int(number)] for number in numbers]
    return torch.as_tensor(positions, dtype=dtype, device=device), torch.as_tensor(channels, device=device)


def integral_counts(grids: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Atoms per species that the integral of the density stands for.

    ∫ρ / (2πσ²)^{3/2}. On voxels of at most σ/0.7 the sum over voxels differs from the integral by 2e-4 of an atom at
    most; an atom 3σ from an end of a window that is not periodic loses 1.4e-3 there.

    Parameters
    ----------
    grids : torch.Tensor, shape (..., nx, ny, nz)
    spec : GridSpec

    Returns
    -------
    torch.Tensor, shape (...)
    """
    return grids.sum(dim=(-3, -2, -1)) * (spec.voxel_volume / spec.atom_volume)


def frozen_density(template: Template, spec: GridSpec, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Density of a template's frozen atoms in a grid's box, a constant channel beside the generated ones.

    Parameters
    ----------
    template : Template
    spec : GridSpec
    dtype : torch.dtype

    Returns
    -------
    torch.Tensor, shape (n_species, nx, ny, nz)
    """
    positions, channels = pack([(template.frozen_numbers, template.frozen_positions)], spec)
    return densities(positions, channels, spec)[0].to(dtype)


def spread_matrices(spec: GridSpec, width: float, *, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """How voxels' occupancies spread along each axis, so that an occupancy of 1 holds the integral of one atom.

    Parameters
    ----------
    spec : GridSpec
    width : float
        Of the spreading Gaussian relative to an atom's.
    dtype : torch.dtype

    Returns
    -------
    list of torch.Tensor, one (n_axis, n_axis) per axis
        Row i is what voxel i spreads.
    """
    narrow = replace(spec, sigma=width * spec.sigma)
    centres = [torch.as_tensor(spec.centres(axis), dtype=torch.float64) for axis in range(len(spec.shape))]
    return [(axis_profiles(centre, narrow, axis) / width).to(dtype) for axis, centre in enumerate(centres)]
