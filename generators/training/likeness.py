"""Which training grid a generated one looks most like."""

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 5
LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""Constants of the index for values between 0 and 1."""
PAIRS_AT_ONCE = 256


def structural_similarity(first: Tensor, second: Tensor, window: int = WINDOW) -> Tensor:
    r"""Structural similarity of pairs of grids, 1 for equal ones (Wang et al., IEEE TIP 13, 600 (2004)).

    Parameters
    ----------
    first, second : torch.Tensor, shape (n, n_species, \*shape)
        In two or three dimensions, with values between 0 and 1.
    window : int
        Edge of the box that means and variances are taken over, in voxels.

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    pool = {4: functional.avg_pool2d, 5: functional.avg_pool3d}[first.dim()]
    first, second = first.double(), second.double()

    def mean(grids: Tensor) -> Tensor:
        return pool(grids, window, stride=1)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1, variance_2 = mean(first * first) - mean_1**2, mean(second * second) - mean_2**2
    covariance = mean(first * second) - mean_1 * mean_2
    index = (2.0 * mean_1 * mean_2 + LUMINANCE) * (2.0 * covariance + CONTRAST)
    index = index / ((mean_1**2 + mean_2**2 + LUMINANCE) * (variance_1 + variance_2 + CONTRAST))
    return index.flatten(1).mean(dim=1)


def nearest_by_similarity(generated: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    r"""The most similar training grid of each generated one, among all of them.

    Parameters
    ----------
    generated : torch.Tensor, shape (n, n_species, \*shape)
    training : torch.Tensor, shape (m, n_species, \*shape)

    Returns
    -------
    index, similarity : torch.Tensor, shape (n,)
    """
    indices, values = [], []
    for grid in generated:
        similarities = torch.cat(
            [structural_similarity(grid.expand(len(part), *grid.shape), part) for part in training.split(PAIRS_AT_ONCE)]
        )
        value, index = similarities.max(dim=0)
        indices.append(index)
        values.append(value)
    return torch.stack(indices), torch.stack(values)
