"""From the generator's last features to densities."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

HEADS = ("density", "occupancy")


class DensityHead(nn.Module):
    """Sigmoid of every voxel for itself."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(features)

    def logit(self, mean_density: Sequence[float]) -> Tensor:
        """Features (n_species,) whose density is `mean_density`."""
        return torch.logit(_open_interval(torch.tensor(mean_density)))


class OccupancyHead(nn.Module):
    r"""Sigmoid occupancies of the voxels, spread by a Gaussian that is narrower than an atom's.

    Whatever the network puts out is then a sum of smooth peaks of nearly the right width, as the data are: the critic
    and the inversion meet atoms in wrong places rather than noise, and the generator needs no weights for a peak's
    shape. Sub-voxel positions come from neighbours that share an atom.

    Parameters
    ----------
    spread : sequence of torch.Tensor, one (n_axis, n_axis) per axis
        How one axis' voxels spread over it; see `generators.grids.density.spread_matrices`.
    """

    spread_0: Tensor

    def __init__(self, spread: Sequence[Tensor]) -> None:
        super().__init__()
        for axis, matrix in enumerate(spread):
            self.register_buffer(f"spread_{axis}", matrix.clone(), persistent=False)
        self.n_axes = len(spread)
        self.gain = math.prod(float(matrix.sum(dim=1).max()) for matrix in spread)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # a peak's shape needs more than eight bits
            density = torch.sigmoid(features.to(self.spread_0.dtype))
            for axis in range(self.n_axes):
                spread: Tensor = getattr(self, f"spread_{axis}")
                density = torch.tensordot(density, spread, dims=([2], [0]))  # the axis moves to the end
        return density

    def logit(self, mean_density: Sequence[float]) -> Tensor:
        """Features (n_species,) whose density is `mean_density` on average."""
        return torch.logit(_open_interval(torch.tensor(mean_density) / self.gain))


def _open_interval(share: Tensor) -> Tensor:
    return share.clamp(1e-4, 1.0 - 1e-4)
