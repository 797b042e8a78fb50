"""Layers that keep a critic steady: dropout from a generator of its own, spectral norm, minibatch discrimination."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

KERNEL_WIDTH = 8
"""Numbers per kernel of minibatch discrimination."""


class SeededDropout(nn.Module):
    """Dropout whose masks come from a generator that the training hands in, so that a training can be resumed.

    Attributes
    ----------
    random : torch.Generator or None
        Set by the training before the first pass.
    """

    random: torch.Generator | None = None

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or self.share == 0.0:
            return features
        if self.random is None:
            raise RuntimeError("dropout has no random generator yet: set `random` before training")
        kept = torch.rand(features.shape, generator=self.random, device=features.device) >= self.share
        return features * kept / (1.0 - self.share)


class SpectralNorm(nn.Module):
    """Divide a kernel by its largest singular value, followed by one power iteration per training pass.

    Miyato et al., ICLR 2018.
    """

    left: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("left", torch.ones(len(weight)) / len(weight) ** 0.5)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the first left singular vector anew."""
        self.left.normal_(generator=generator)
        self.left.div_(self.left.norm())

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            right = nn.functional.normalize(matrix.T @ self.left, dim=0)
            left = nn.functional.normalize(matrix @ right, dim=0)
            if self.training:
                self.left.copy_(left)
            left, right = left.clone(), right.clone()  # the buffer moves on before a backward pass comes
        return weight / (left @ matrix @ right)


def apply_spectral_norm(network: nn.Module) -> None:
    """Give every convolution and linear layer of `network` a spectral norm, in place."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight), unsafe=True)


def draw_spectral_norms(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the vectors of all spectral norms in `network` anew."""
    for module in network.modules():
        if isinstance(module, SpectralNorm):
            module.draw(generator)


class MinibatchDiscrimination(nn.Module):
    """How near each sample's features are to those of the others in its batch, per kernel.

    Σ_j exp(−‖M_i − M_j‖₁) over the other samples (Salimans et al., NeurIPS 2016).

    Parameters
    ----------
    n_features, n_kernels : int
    """

    def __init__(self, n_features: int, n_kernels: int) -> None:
        super().__init__()
        self.n_kernels = n_kernels
        self.layer = nn.Linear(n_features, n_kernels * KERNEL_WIDTH, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        rows = self.layer(features).view(len(features), self.n_kernels, KERNEL_WIDTH)
        distances = (rows[:, None] - rows[None]).abs().sum(dim=-1)  # (batch, batch, n_kernels)
        nearness: Tensor = torch.exp(-distances).sum(dim=1) - 1.0
        return nearness
