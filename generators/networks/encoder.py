"""An encoder in front of the generator: from a density to where its noise may be."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from generators.networks.conditioning import ConditionEncoder
from generators.networks.dcwgan import coarse_shape
from generators.networks.layers import CRITIC_STEMS, LEAKY_SLOPE, BesideFrozen, halving, initialise
from generators.networks.settings import NetworkSettings

WIDTH = 4
"""of the dense layer, in units of the noise's length"""
LARGEST_LOG_VARIANCE = 4.0


class Encoder(nn.Module):
    r"""Densities and conditions to a normal distribution of noise, each number of it for itself.

    Its convolutions are laid out as the critic's; conditions join the dense layer.

    Parameters
    ----------
    settings : NetworkSettings
    frozen : torch.Tensor, shape (n_species, \*shape)
    periodic : sequence of bool
        Which spatial axes wrap.
    """

    frozen: Tensor

    def __init__(self, settings: NetworkSettings, frozen: Tensor, periodic: Sequence[bool]) -> None:
        super().__init__()
        n_species, channels = len(frozen), settings.critic_channels
        coarse = coarse_shape(frozen.shape[1:], settings.n_halvings)
        self.register_buffer("frozen", frozen[None].clone(), persistent=False)
        self.stem = BesideFrozen(CRITIC_STEMS[settings.critic_stem], n_species, n_species, channels[0], periodic)
        self.convolutions = nn.ModuleList(halving(n_in, n_out, periodic, True) for n_in, n_out in pairwise(channels))
        self.told = ConditionEncoder(settings.conditions, settings.condition_method, settings.condition_size)
        width = WIDTH * settings.latent
        self.hidden = nn.Linear(channels[-1] * math.prod(coarse) + self.told.width, width)
        self.head = nn.Linear(width, 2 * settings.latent)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all parameters from `generator`; the first distributions are about standard normal."""
        initialise(self, generator)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, grids: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        r"""Grids (batch, n_species, \*shape), rows (batch, n_conditions) to mean and log variance (batch, latent)."""
        features = functional.leaky_relu(self.stem(grids, self.frozen), LEAKY_SLOPE)
        for convolution in self.convolutions:
            features = functional.leaky_relu(convolution(features), LEAKY_SLOPE)
        features = torch.cat([features.flatten(1), self.told(conditions)], dim=1)
        mean, log_variance = self.head(functional.leaky_relu(self.hidden(features), LEAKY_SLOPE)).chunk(2, dim=1)
        return mean, log_variance.clamp(-2.0 * LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
