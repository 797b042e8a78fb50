"""The usual way from a voxel grid to atoms: threshold, maximum filter, L-BFGS on the whole grid.

As described for VoxMol (Pinheiro et al., NeurIPS 2023): voxels above a threshold that are the largest of their
3 × 3 × 3 neighbourhood start the atoms, and gradients of the squared difference of whole grids move them. Periodic
here, so that both ways see the same problem.
"""

from collections.abc import Callable

import numpy as np
import torch

from generators.grids.spec import GridSpec

Gridding = Callable[[torch.Tensor, torch.Tensor, GridSpec], torch.Tensor]
HISTORY = 10
LARGEST_ITERATIONS = 300


def local_cubes(positions: torch.Tensor, channels: torch.Tensor, spec: GridSpec) -> torch.Tensor:
    """Densities from a cube of voxels around each atom, scattered into the grid, as voxel generators make them."""
    reach = [int(np.ceil(5.5 * spec.sigma / edge)) for edge in spec.spacing]
    shape = torch.tensor(spec.shape)
    spacing = torch.as_tensor(spec.spacing).to(positions)
    cube = torch.cartesian_prod(*(torch.arange(-r, r + 1) for r in reach))  # (n_cube, 3)
    nearest = torch.floor(positions.detach()[0] / spacing).long()
    voxels = nearest[:, None] + cube  # (n_atoms, n_cube, 3)
    offsets = (voxels.to(positions) + 0.5) * spacing - positions[0][:, None]
    values = torch.exp(-0.5 * offsets.square().sum(dim=-1) / spec.sigma**2)
    wrapped = voxels.remainder(shape)
    rows = channels[0][:, None].expand_as(values)
    grid = positions.new_zeros(len(spec.species), *spec.shape)
    return grid.index_put((rows, *wrapped.unbind(-1)), values, accumulate=True)[None].clamp(max=1.0)


def invert(
    grid: torch.Tensor, spec: GridSpec, gridding: Gridding, threshold: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and positions from a periodic grid (1, n_species, nx, ny, nz), in its precision."""
    padded = torch.nn.functional.pad(grid, (1,) * 6, mode="circular")
    peaks = (grid == torch.nn.functional.max_pool3d(padded, 3, 1)) & (grid > threshold)
    _, channel, *voxel = torch.nonzero(peaks, as_tuple=True)
    centres = [torch.as_tensor(spec.centres(axis), dtype=grid.dtype)[voxel[axis]] for axis in range(3)]
    positions = torch.stack(centres, dim=-1)[None].requires_grad_()
    fine = torch.finfo(grid.dtype).eps
    optimiser = torch.optim.LBFGS(
        [positions],
        max_iter=LARGEST_ITERATIONS,
        history_size=HISTORY,
        tolerance_grad=10 * fine,
        tolerance_change=0.01 * fine,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        error = (gridding(positions, channel[None], spec) - grid).square().sum()
        error.backward()
        return error

    optimiser.step(loss)
    return spec.numbers[channel.numpy()], positions.detach()[0].double().numpy()
