"""A small U-Net that takes the noise off grids, preconditioned after Karras et al., NeurIPS 2022 (EDM)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.denoising.settings import DenoiserNetworkSettings
from generators.networks.conditioning import ConditionEncoder
from generators.networks.dcwgan import coarse_shape
from generators.networks.layers import (
    NORMS,
    BesideFrozen,
    PeriodicConvolution,
    TransposedDoubling,
    halving,
    halving_evenly,
    initialise,
    keeping,
)

FREQUENCY_RANGE = (0.25, 8.0)
"""of the waves in the logarithm of the noise level that tell it to the network"""


class Denoiser(nn.Module):
    r"""Noisy grids, their noise level and conditions to the mean of the clean grids that they may come from.

    D(y; σ) = c_skip y + c_out F(c_in y; ln σ) with the factors of EDM's table 1, so that what the network F reads and
    what it is to put out have unit variance at every noise level.

    Parameters
    ----------
    settings : DenoiserNetworkSettings
    frozen : torch.Tensor, shape (n_species, \*shape)
        Density of the frozen atoms, seen at every resolution and never generated.
    periodic : sequence of bool
        Which spatial axes wrap.
    data_deviation : float
        Root mean square of the training grids' voxels; kept with the weights.

    Raises
    ------
    ValueError
        If an axis cannot be halved as often as the layout says.
    """

    frozen: Tensor
    data_deviation: Tensor

    def __init__(
        self, settings: DenoiserNetworkSettings, frozen: Tensor, periodic: Sequence[bool], data_deviation: float = 1.0
    ) -> None:
        super().__init__()
        n_species, shape = len(frozen), frozen.shape[1:]
        coarse_shape(shape, settings.n_halvings)
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)
        self.register_buffer("data_deviation", torch.tensor(float(data_deviation)))
        self.told = _Told(settings)
        stem = halving_evenly if settings.stem == "halving" else keeping
        channels = settings.channels
        self.stem = BesideFrozen(stem, n_species, n_species, channels[0], periodic)
        self.downward = nn.ModuleList(_Level(n, n, n_species, periodic, settings) for n in channels)
        self.halvings = nn.ModuleList(halving(n_in, n_out, periodic, True) for n_in, n_out in pairwise(channels))
        self.doublings = nn.ModuleList(
            TransposedDoubling(n_in, n_out, periodic) for n_out, n_in in reversed(list(pairwise(channels)))
        )
        self.upward = nn.ModuleList(_Level(2 * n, n, n_species, periodic, settings) for n in reversed(channels[:-1]))
        self.last_norm = NORMS[settings.norm](channels[0], len(shape))
        last = TransposedDoubling if settings.stem == "halving" else PeriodicConvolution
        self.output = last(channels[0], n_species, periodic)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters from `generator`; every block begins as the identity, and F as zero."""
        initialise(self, generator)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, _Block):
                    module.second.convolution.weight.zero_()
            for parameter in self.output.parameters():
                parameter.zero_()

    def forward(self, noisy: Tensor, level: Tensor, conditions: Tensor, shown: Tensor | None = None) -> Tensor:
        r"""Denoise.

        Parameters
        ----------
        noisy : torch.Tensor, shape (batch, n_species, \*shape)
        level : torch.Tensor, shape (batch,)
            Standard deviation of the noise, positive.
        conditions : torch.Tensor, shape (batch, n_conditions)
        shown : torch.Tensor of bool, shape (batch,), optional
            Whose conditions the network is told; all by default.

        Returns
        -------
        torch.Tensor, shape (batch, n_species, \*shape)
        """
        sigma, data = level.view(-1, *[1] * (noisy.dim() - 1)), self.data_deviation
        total = torch.sqrt(sigma**2 + data**2)
        raw = self.raw(noisy / total, level, conditions, shown)
        denoised: Tensor = (data / total) ** 2 * noisy + sigma * data / total * raw.to(noisy.dtype)
        return denoised

    def raw(self, scaled: Tensor, level: Tensor, conditions: Tensor, shown: Tensor | None = None) -> Tensor:
        """F of EDM's equation 7, from grids of unit variance."""
        told = self.told(level, conditions, shown)
        features = self.stem(scaled, self.frozen)
        kept = []
        for i, blocks in enumerate(self.downward):
            features = blocks(features, self.frozen, told)
            if i < len(self.halvings):
                kept.append(features)
                features = self.halvings[i](features)
        for doubling, blocks in zip(self.doublings, self.upward, strict=True):
            features = blocks(torch.cat([doubling(features), kept.pop()], dim=1), self.frozen, told)
        result: Tensor = self.output(functional.silu(self.last_norm(features)))
        return result


class _Told(nn.Module):
    """Noise level and conditions as one vector (batch, embedding)."""

    frequencies: Tensor

    def __init__(self, settings: DenoiserNetworkSettings) -> None:
        super().__init__()
        width = settings.embedding
        low, high = (math.log(frequency) for frequency in FREQUENCY_RANGE)
        self.register_buffer("frequencies", torch.exp(torch.linspace(low, high, width // 2)), persistent=False)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.encoder = ConditionEncoder(settings.conditions, settings.condition_method, settings.condition_size)
        self.conditions = nn.Linear(self.encoder.width, width) if settings.conditions else None

    def forward(self, level: Tensor, conditions: Tensor, shown: Tensor | None) -> Tensor:
        phases = torch.log(level)[:, None] * self.frequencies
        told = self.first(torch.cat([torch.cos(phases), torch.sin(phases)], dim=1))
        if self.conditions is not None:
            said = self.conditions(self.encoder(conditions))
            told = told + (said if shown is None else torch.where(shown[:, None], said, 0.0))
        result: Tensor = functional.silu(self.second(functional.silu(told)))
        return result


class _Level(nn.Module):
    """The blocks of one resolution."""

    def __init__(
        self, n_in: int, n_out: int, n_species: int, periodic: Sequence[bool], settings: DenoiserNetworkSettings
    ) -> None:
        super().__init__()
        entering = [n_in] + [n_out] * (settings.blocks - 1)
        self.blocks = nn.ModuleList(_Block(n, n_out, n_species, periodic, settings) for n in entering)

    def forward(self, features: Tensor, frozen: Tensor, told: Tensor) -> Tensor:
        for block in self.blocks:
            features = block(features, frozen, told)
        return features


class _Block(nn.Module):
    """Two convolutions beside the identity; scaled and shifted in between by what is told (Perez et al., AAAI 2018)."""

    def __init__(
        self, n_in: int, n_out: int, n_species: int, periodic: Sequence[bool], settings: DenoiserNetworkSettings
    ) -> None:
        super().__init__()
        norm, n_dimensions = NORMS[settings.norm], len(periodic)
        self.first_norm, self.second_norm = norm(n_in, n_dimensions), norm(n_out, n_dimensions)
        self.first = BesideFrozen(keeping, n_in, n_species, n_out, periodic)
        self.modulation = nn.Linear(settings.embedding, 2 * n_out)
        self.second = PeriodicConvolution(n_out, n_out, periodic)
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[n_dimensions]
        self.beside = nn.Identity() if n_in == n_out else convolution(n_in, n_out, 1)

    def forward(self, features: Tensor, frozen: Tensor, told: Tensor) -> Tensor:
        inner = self.first(functional.silu(self.first_norm(features)), frozen)
        modulation = self.modulation(told)
        scale, shift = modulation.view(*modulation.shape, *[1] * (features.dim() - 2)).chunk(2, dim=1)
        inner = functional.silu(self.second_norm(inner) * (1.0 + scale) + shift)
        result: Tensor = self.beside(features) + self.second(inner)
        return result
